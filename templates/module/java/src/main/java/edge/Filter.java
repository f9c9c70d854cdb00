package edge;

import com.google.gson.JsonElement;
import com.google.gson.JsonParseException;
import com.google.gson.JsonParser;
import com.microsoft.azure.sdk.iot.device.Message;
import com.microsoft.azure.sdk.iot.device.MessageProperty;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.Optional;

/**
 * What the module does with a message: lets through those whose machine temperature is above a threshold. No network
 * here: this is the part to change, and to test.
 */
public final class Filter {
    public static final double DEFAULT_THRESHOLD = 25;

    private volatile double threshold = DEFAULT_THRESHOLD;

    public double threshold() {
        return threshold;
    }

    /** Takes the threshold from a twin or a patch; one that does not name it leaves it, null resets it. */
    public void configure(Map<String, Object> desired) {
        if (!desired.containsKey("TemperatureThreshold")) {
            return;
        }
        Object value = desired.get("TemperatureThreshold");
        if (value == null) {
            threshold = DEFAULT_THRESHOLD;
        } else if (value instanceof Number number) {
            threshold = number.doubleValue();
        } else {
            System.err.printf("TemperatureThreshold must be a number, not %s: it stays at %s%n", value, threshold);
        }
    }

    /** The alert for a message, if it is above the threshold. */
    public Optional<Message> alert(Message message) {
        byte[] bytes = message.getBytes();
        JsonElement body;
        try {
            body = JsonParser.parseString(new String(bytes, StandardCharsets.UTF_8));
        } catch (JsonParseException error) {
            System.err.println("a message that is not JSON was dropped: " + error.getMessage());
            return Optional.empty();
        }
        if (!(temperature(body) > threshold)) {
            return Optional.empty();
        }
        Message alert = new Message(bytes);
        alert.setMessageId(message.getMessageId());
        alert.setCorrelationId(message.getCorrelationId());
        if (message.getContentType() != null) {
            alert.setContentType(message.getContentType());
        }
        if (message.getContentEncoding() != null) {
            alert.setContentEncoding(message.getContentEncoding());
        }
        for (MessageProperty property : message.getProperties()) {
            // Those whose names start with "$." were set by the hub, and only it may set them.
            if (!property.getName().startsWith("$.")) {
                alert.setProperty(property.getName(), property.getValue());
            }
        }
        alert.setProperty("MessageType", "Alert");
        return Optional.of(alert);
    }

    /** The temperature of the machine; no number if the body has none. */
    private static double temperature(JsonElement body) {
        JsonElement machine = member(body, "machine");
        JsonElement temperature = member(machine, "temperature");
        boolean isNumber = temperature != null && temperature.isJsonPrimitive()
                && temperature.getAsJsonPrimitive().isNumber();
        return isNumber ? temperature.getAsDouble() : Double.NaN;
    }

    private static JsonElement member(JsonElement element, String name) {
        return element != null && element.isJsonObject() ? element.getAsJsonObject().get(name) : null;
    }
}
