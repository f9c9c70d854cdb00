using System.Text.Json;
using Microsoft.Azure.Devices.Client;
using Microsoft.Azure.Devices.Shared;
using Newtonsoft.Json.Linq;

namespace EdgeModule;

/// <summary>
/// What the module does with a message: lets through those whose machine temperature is above a threshold. No network
/// here: this is the part to change, and to test.
/// </summary>
public sealed class Filter
{
    public const double DefaultThreshold = 25;

    public double Threshold { get; private set; } = DefaultThreshold;

    /// <summary>
    /// Takes the threshold from a twin or a patch; one that does not name it leaves it, null resets it.
    /// </summary>
    public void Configure(TwinCollection desired)
    {
        if (!desired.Contains("TemperatureThreshold"))
        {
            return;
        }
        JToken? value = desired["TemperatureThreshold"] as JToken;
        switch (value?.Type)
        {
            case null or JTokenType.Null:
                Threshold = DefaultThreshold;
                break;
            case JTokenType.Integer or JTokenType.Float:
                Threshold = value.Value<double>();
                break;
            default:
                Console.Error.WriteLine($"TemperatureThreshold must be a number, not {value}: it stays at {Threshold}");
                break;
        }
    }

    /// <summary>The alert for a message, or null if it is not above the threshold.</summary>
    public Message? Alert(Message message)
    {
        byte[] bytes = message.GetBytes();
        try
        {
            using JsonDocument body = JsonDocument.Parse(bytes);
            if (Temperature(body.RootElement) is not double temperature || temperature <= Threshold)
            {
                return null;
            }
        }
        catch (JsonException error)
        {
            Console.Error.WriteLine($"a message that is not JSON was dropped: {error.Message}");
            return null;
        }
        var alert = new Message(bytes)
        {
            MessageId = message.MessageId,
            CorrelationId = message.CorrelationId,
            ContentType = message.ContentType,
            ContentEncoding = message.ContentEncoding,
        };
        foreach ((string key, string value) in message.Properties)
        {
            // Those whose names start with "$." were set by the hub, and only it may set them.
            if (!key.StartsWith("$.", StringComparison.Ordinal))
            {
                alert.Properties[key] = value;
            }
        }
        alert.Properties["MessageType"] = "Alert";
        return alert;
    }

    private static double? Temperature(JsonElement body)
    {
        return body.ValueKind == JsonValueKind.Object
            && body.TryGetProperty("machine", out JsonElement machine)
            && machine.ValueKind == JsonValueKind.Object
            && machine.TryGetProperty("temperature", out JsonElement temperature)
            && temperature.ValueKind == JsonValueKind.Number
            ? temperature.GetDouble()
            : null;
    }
}
