package edge;

import com.microsoft.azure.sdk.iot.device.IotHubClientProtocol;
import com.microsoft.azure.sdk.iot.device.IotHubMessageResult;
import com.microsoft.azure.sdk.iot.device.Message;
import com.microsoft.azure.sdk.iot.device.ModuleClient;
import com.microsoft.azure.sdk.iot.device.exceptions.IotHubClientException;
import com.microsoft.azure.sdk.iot.device.twin.DirectMethodResponse;
import com.microsoft.azure.sdk.iot.device.twin.Twin;
import com.microsoft.azure.sdk.iot.device.twin.TwinCollection;
import java.util.Map;

/**
 * A module that lets through what is too hot: each message on input1 whose machine temperature is above the desired
 * property TemperatureThreshold leaves on output1, marked with the property MessageType: Alert.
 */
public final class Main {
    private final Filter filter = new Filter();
    private final ModuleClient client;

    private Main(ModuleClient client) {
        this.client = client;
    }

    public static void main(String[] arguments) throws Exception {
        ModuleClient client =
                ModuleClient.createFromEnvironment(new WorkloadSocket(), IotHubClientProtocol.MQTT);
        Main module = new Main(client);
        // Called when the module is asked to stop, by a signal.
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            System.out.println("asked to stop");
            client.close();
        }));
        module.start();
        // What arrives is handled by the SDK's threads, until the module is asked to stop.
        Thread.currentThread().join();
    }

    private void start() throws IotHubClientException, InterruptedException {
        client.setConnectionStatusChangeCallback(
                change -> System.out.println("the connection: " + change.getNewStatus()), null);
        client.setMessageCallback("input1", (message, context) -> onMessage(message), null);
        // It tries until it is connected, and comes back by itself.
        client.open(true);
        // Only what changes is heard of, so the properties there are must be asked for.
        client.subscribeToDesiredProperties((twin, context) -> onDesired(twin), null);
        onDesired(client.getTwin());
        client.subscribeToMethods((name, payload, context) -> onMethod(name), null);
    }

    /** Filters one message. */
    private IotHubMessageResult onMessage(Message message) {
        filter.alert(message).ifPresent(alert -> client.sendEventAsync(alert, (sent, failure, context) -> {
            if (failure == null) {
                System.out.println("alert: " + new String(alert.getBytes(), Message.DEFAULT_IOTHUB_MESSAGE_CHARSET));
            } else {
                System.err.println("an alert could not be sent: " + failure.getMessage());
            }
        }, null, "output1"));
        return IotHubMessageResult.COMPLETE;
    }

    /** Takes over the desired properties, and reports what is in force now. */
    private void onDesired(Twin twin) {
        filter.configure(twin.getDesiredProperties());
        System.out.println("threshold: " + filter.threshold());
        TwinCollection reported = new TwinCollection();
        reported.put("TemperatureThreshold", filter.threshold());
        client.updateReportedPropertiesAsync(reported, (status, response, failure, context) -> {
            if (failure != null) {
                System.err.println("the threshold could not be reported: " + failure.getMessage());
            }
        }, null);
    }

    /** Answers direct methods. */
    private DirectMethodResponse onMethod(String name) {
        boolean isKnown = name.equals("threshold");
        System.out.println("method " + name + ": " + (isKnown ? 200 : 404));
        return isKnown
                ? new DirectMethodResponse(200, Map.of("TemperatureThreshold", filter.threshold()))
                : new DirectMethodResponse(404, Map.of("error", "there is no method " + name));
    }
}
