package edge

import (
	"bufio"
	"bytes"
	"reflect"
	"strings"
	"testing"
)

func TestPropertiesSurviveATopic(t *testing.T) {
	message := Message{MessageID: "m id/1", Properties: map[string]string{"a b": "c=d&e/+#é"}}
	bag := message.bag("output1")
	if bag != "%24.on=output1&%24.mid=m%20id%2F1&a%20b=c%3Dd%26e%2F%2B%23%C3%A9" {
		t.Error(bag)
	}
	read := readMessage(strings.TrimPrefix(bag, "%24.on=output1&")+"/", nil)
	if !reflect.DeepEqual(read, message) {
		t.Errorf("%+v", read)
	}
}

func TestPacketsSurviveAConnection(t *testing.T) {
	for _, size := range []int{0, 1, 100, 200, 20_000, 300_000} {
		sent := publish(7, "a/b", bytes.Repeat([]byte("x"), size))
		arrived, err := readPacket(bufio.NewReader(bytes.NewReader(sent.bytes())))
		if err != nil || !reflect.DeepEqual(arrived, sent) {
			t.Fatalf("%d bytes: %v", size, err)
		}
		read, err := arrived.publication()
		if err != nil || read.topic != "a/b" || read.id != 7 || len(read.body) != size {
			t.Fatalf("%d bytes: %+v, %v", size, read, err)
		}
	}
}

func TestWhatIsNoPacketIsRefused(t *testing.T) {
	for _, text := range []string{"", "\x30", "\x30\xff\xff\xff\xff\x7f", "\x30\xff\xff\xff\x7f", "\x30\x05ab"} {
		if _, err := readPacket(bufio.NewReader(strings.NewReader(text))); err == nil {
			t.Errorf("%q", text)
		}
	}
	for _, body := range []string{"", "\x00", "\x00\x05ab", "\x00\x01a\x00"} {
		if read, err := (packet{kind: packetPublish, flags: 2, body: []byte(body)}).publication(); err == nil {
			t.Errorf("%q: %+v", body, read)
		}
	}
}
