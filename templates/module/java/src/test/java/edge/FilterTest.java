package edge;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.microsoft.azure.sdk.iot.device.Message;
import java.util.HashMap;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** Run with `mvn test`. */
class FilterTest {
    private static Message reading(String temperature) {
        Message message = new Message("{\"machine\":{\"temperature\":" + temperature + "}}");
        message.setContentType("application/json");
        message.setProperty("sequenceNumber", "7");
        return message;
    }

    @Test
    void hotMessagesBecomeAlertsAndKeepTheirProperties() {
        Message alert = new Filter().alert(reading("25.1")).orElseThrow();
        assertEquals("7", alert.getProperty("sequenceNumber"));
        assertEquals("Alert", alert.getProperty("MessageType"));
        assertArrayEquals(reading("25.1").getBytes(), alert.getBytes());
        assertEquals("application/json", alert.getContentType());
    }

    @Test
    void otherMessagesAreDropped() {
        for (String temperature : new String[] {"25", "-3", "\"hot\"", "null"}) {
            assertTrue(new Filter().alert(reading(temperature)).isEmpty(), temperature);
        }
        for (String body : new String[] {"[1]", "null", "{}", "{not JSON"}) {
            assertTrue(new Filter().alert(new Message(body)).isEmpty(), body);
        }
    }

    @Test
    void theThresholdComesFromTheDesiredProperties() {
        Filter filter = new Filter();
        filter.configure(Map.of("TemperatureThreshold", 30.0));
        assertTrue(filter.alert(reading("29")).isEmpty());
        filter.configure(Map.of("TemperatureThreshold", "warm"));
        filter.configure(Map.of());
        assertEquals(30, filter.threshold());
        Map<String, Object> reset = new HashMap<>();
        reset.put("TemperatureThreshold", null);
        filter.configure(reset);
        assertEquals(Filter.DEFAULT_THRESHOLD, filter.threshold());
    }
}
