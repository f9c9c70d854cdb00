// Run with `dotnet test tests`.

using System.Text;
using Microsoft.Azure.Devices.Client;
using Microsoft.Azure.Devices.Shared;
using Xunit;

namespace EdgeModule.Tests;

public sealed class FilterTest
{
    private static Message Text(string body) => new(Encoding.UTF8.GetBytes(body));

    private static Message Reading(string temperature)
    {
        Message message = Text($"{{\"machine\":{{\"temperature\":{temperature}}}}}");
        message.ContentType = "application/json";
        message.Properties["sequenceNumber"] = "7";
        message.Properties["$.cdid"] = "device";
        return message;
    }

    [Fact]
    public void HotMessagesBecomeAlertsAndKeepTheirProperties()
    {
        Message? alert = new Filter().Alert(Reading("25.1"));
        Assert.NotNull(alert);
        Assert.Equal(
            new Dictionary<string, string> { ["sequenceNumber"] = "7", ["MessageType"] = "Alert" }, alert.Properties);
        Assert.Equal(Reading("25.1").GetBytes(), alert.GetBytes());
        Assert.Equal("application/json", alert.ContentType);
    }

    [Fact]
    public void OtherMessagesAreDropped()
    {
        foreach (string temperature in new[] { "25", "-3", "\"hot\"", "null" })
        {
            Assert.Null(new Filter().Alert(Reading(temperature)));
        }
        foreach (string body in new[] { "[1]", "null", "{}", "not JSON" })
        {
            Assert.Null(new Filter().Alert(Text(body)));
        }
    }

    [Fact]
    public void TheThresholdComesFromTheDesiredProperties()
    {
        var filter = new Filter();
        filter.Configure(new TwinCollection("{\"TemperatureThreshold\":30}"));
        Assert.Null(filter.Alert(Reading("29")));
        filter.Configure(new TwinCollection("{\"TemperatureThreshold\":\"warm\",\"$version\":2}"));
        filter.Configure(new TwinCollection("{\"$version\":3}"));
        Assert.Equal(30, filter.Threshold);
        filter.Configure(new TwinCollection("{\"TemperatureThreshold\":null}"));
        Assert.Equal(Filter.DefaultThreshold, filter.Threshold);
    }
}
