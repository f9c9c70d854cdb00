// A module that lets through what is too hot: each message on input1 whose machine temperature is above the desired
// property TemperatureThreshold leaves on output1, marked with the property MessageType: Alert.

using System.Runtime.InteropServices;
using System.Text.Json;
using EdgeModule;
using Microsoft.Azure.Devices.Client;
using Microsoft.Azure.Devices.Shared;

var filter = new Filter();
var stopped = new TaskCompletionSource();
void Stop(PosixSignalContext context)
{
    // The module ends by itself, when it has taken leave of the hub.
    context.Cancel = true;
    stopped.TrySetResult();
}
using PosixSignalRegistration onTerminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
using PosixSignalRegistration onInterrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);

using ModuleClient client = await ModuleClient.CreateFromEnvironmentAsync(TransportType.Mqtt_Tcp_Only);
client.SetConnectionStatusChangesHandler((status, reason) => Console.WriteLine($"the connection: {status}, {reason}"));
// The SDK tries until it is connected, and comes back by itself.
await client.OpenAsync();
// The threshold first, so that no message is judged by the default one.
await client.SetDesiredPropertyUpdateCallbackAsync(OnDesired, null);
Twin twin = await client.GetTwinAsync();
await OnDesired(twin.Properties.Desired, null);
await client.SetMethodDefaultHandlerAsync(OnMethod, null);
await client.SetInputMessageHandlerAsync("input1", OnMessage, null);

await stopped.Task;
Console.WriteLine("asked to stop");
await client.CloseAsync();

// Filters one message. It is completed only when its alert is safe in the hub.
async Task<MessageResponse> OnMessage(Message message, object? context)
{
    using Message? alert = filter.Alert(message);
    if (alert is not null)
    {
        await client.SendEventAsync("output1", alert);
        Console.WriteLine($"alert: {message.MessageId}");
    }
    return MessageResponse.Completed;
}

// Takes over the desired properties, and reports what is in force now.
async Task OnDesired(TwinCollection desired, object? context)
{
    filter.Configure(desired);
    Console.WriteLine($"threshold: {filter.Threshold}");
    await client.UpdateReportedPropertiesAsync(new TwinCollection { ["TemperatureThreshold"] = filter.Threshold });
}

// Answers direct methods.
Task<MethodResponse> OnMethod(MethodRequest request, object? context)
{
    (int status, object answer) = request.Name == "threshold"
        ? (200, (object)new { TemperatureThreshold = filter.Threshold })
        : (404, new { error = $"there is no method {request.Name}" });
    Console.WriteLine($"method {request.Name}: {status}");
    return Task.FromResult(new MethodResponse(JsonSerializer.SerializeToUtf8Bytes(answer), status));
}
