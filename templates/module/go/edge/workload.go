package edge

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

const answerWithin = 30 * time.Second

// trustBundle asks the workload API for the certificates, in PEM, of the authorities that the hub's may come from.
func (e environment) trustBundle(ctx context.Context) (string, error) {
	return e.call(ctx, http.MethodGet, "/trust-bundle", nil, "certificate")
}

// token asks for a token with which the module connects, valid for some time from now.
func (e environment) token(ctx context.Context, lasts time.Duration) (string, error) {
	resource := encode(e.hub + "/devices/" + e.device + "/modules/" + e.module)
	expiry := time.Now().Add(lasts).Unix()
	data := base64.StdEncoding.EncodeToString([]byte(fmt.Sprintf("%s\n%d", resource, expiry)))
	path := "/modules/" + encode(e.module) + "/genid/" + encode(e.generation) + "/sign"
	request := map[string]string{"keyId": "primary", "algo": "HMACSHA256", "data": data}
	digest, err := e.call(ctx, http.MethodPost, path, request, "digest")
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("SharedAccessSignature sr=%s&sig=%s&se=%d", resource, encode(digest), expiry), nil
}

// call makes a call, and returns a member of its answer.
func (e environment) call(ctx context.Context, method, path string, body any, member string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	transport := &http.Transport{DisableKeepAlives: true}
	base := strings.TrimRight(e.workloadURI, "/")
	if strings.HasPrefix(e.workloadURI, "unix://") {
		socket := strings.TrimPrefix(e.workloadURI, "unix://")
		base = "http://localhost"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}
	}
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return "", err
		}
		content = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, base+path+"?api-version="+e.apiVersion, content)
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return "", err
	}
	if response.StatusCode >= 300 {
		return "", fmt.Errorf("the workload API at %s: status %s: %s", e.workloadURI, response.Status, text)
	}
	var answer map[string]any
	if err := json.Unmarshal(text, &answer); err != nil {
		return "", err
	}
	value, isText := answer[member].(string)
	if !isText {
		return "", fmt.Errorf("the workload API at %s: its answer has no %s", e.workloadURI, member)
	}
	return value, nil
}
