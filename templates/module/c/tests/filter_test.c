/* Run with `make test`. */

#undef NDEBUG
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "filter.h"

static struct message reading(const char *body)
{
    struct message message = {.body = body, .length = strlen(body)};
    message_add(&message, "$.ct", "application/json");
    message_add(&message, "$.cdid", "device");
    message_add(&message, "sequenceNumber", "7");
    return message;
}

static bool is_alert(const struct filter *filter, const char *body)
{
    struct message alert, message = reading(body);
    return filter_alert(filter, &message, &alert);
}

static void hot_messages_become_alerts_and_keep_their_properties(void)
{
    struct filter filter = {DEFAULT_THRESHOLD};
    struct message alert, message = reading("{\"machine\":{\"temperature\":25.1}}");
    assert(filter_alert(&filter, &message, &alert));
    assert(alert.length == message.length && alert.count == 3);
    char *bag = message_write_bag(&alert, "start/", "output1");
    assert(strcmp(bag, "start/%24.on=output1&%24.ct=application%2Fjson&sequenceNumber=7&MessageType=Alert") == 0);
    free(bag);
}

static void other_messages_are_dropped(void)
{
    struct filter filter = {DEFAULT_THRESHOLD};
    assert(!is_alert(&filter, "{\"machine\":{\"temperature\":25}}"));
    assert(!is_alert(&filter, "{\"machine\":{\"temperature\":-3}}"));
    assert(!is_alert(&filter, "{\"machine\":{\"temperature\":\"hot\"}}"));
    assert(!is_alert(&filter, "[1]"));
    assert(!is_alert(&filter, "not JSON"));
}

static void configure(struct filter *filter, const char *text)
{
    cJSON *desired = cJSON_Parse(text);
    filter_configure(filter, desired);
    cJSON_Delete(desired);
}

static void the_threshold_comes_from_the_desired_properties(void)
{
    struct filter filter = {DEFAULT_THRESHOLD};
    configure(&filter, "{\"TemperatureThreshold\":30}");
    assert(!is_alert(&filter, "{\"machine\":{\"temperature\":29}}"));
    configure(&filter, "{\"TemperatureThreshold\":\"warm\",\"$version\":2}");
    configure(&filter, "{\"$version\":3}");
    assert(filter.threshold == 30);
    configure(&filter, "{\"TemperatureThreshold\":null}");
    assert(filter.threshold == DEFAULT_THRESHOLD);
}

static void properties_survive_a_topic(void)
{
    char bag[] = "a%20b=c%3Dd%26e%2F%2B%23%C3%A9&empty=&none/";
    struct message message = {.count = 0};
    message_read_bag(&message, bag);
    assert(message.count == 3);
    assert(strcmp(message.properties[0].key, "a b") == 0);
    assert(strcmp(message.properties[0].value, "c=d&e/+#\xC3\xA9") == 0);
    assert(strcmp(message.properties[2].key, "none") == 0);
}

int main(void)
{
    hot_messages_become_alerts_and_keep_their_properties();
    other_messages_are_dropped();
    the_threshold_comes_from_the_desired_properties();
    properties_survive_a_topic();
    printf("4 passed, 0 failed\n");
    return 0;
}
