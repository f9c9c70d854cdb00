#include "filter.h"

#include <stdio.h>
#include <string.h>

void filter_configure(struct filter *filter, const cJSON *desired)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(desired, "TemperatureThreshold");
    if (cJSON_IsNull(value))
        filter->threshold = DEFAULT_THRESHOLD;
    else if (cJSON_IsNumber(value))
        filter->threshold = value->valuedouble;
    else if (value != NULL)
        fprintf(stderr, "TemperatureThreshold must be a number: it stays at %g\n", filter->threshold);
}

bool filter_alert(const struct filter *filter, const struct message *message, struct message *alert)
{
    cJSON *body = cJSON_ParseWithLength(message->body, message->length);
    if (body == NULL) {
        fprintf(stderr, "a message that is not JSON was dropped\n");
        return false;
    }
    const cJSON *machine = cJSON_GetObjectItemCaseSensitive(body, "machine");
    const cJSON *temperature = cJSON_GetObjectItemCaseSensitive(machine, "temperature");
    bool is_hot = cJSON_IsNumber(temperature) && temperature->valuedouble > filter->threshold;
    cJSON_Delete(body);
    if (!is_hot)
        return false;
    *alert = (struct message){.body = message->body, .length = message->length};
    for (size_t i = 0; i < message->count; i++) {
        /* What the hub says about the sender is not the module's to say. */
        if (message_may_set(message->properties[i].key))
            message_add(alert, message->properties[i].key, message->properties[i].value);
    }
    return message_add(alert, "MessageType", "Alert");
}
