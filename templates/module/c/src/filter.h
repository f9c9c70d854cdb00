/* What the module does with a message. No network here: this is the part to change, and to test. */
#ifndef FILTER_H
#define FILTER_H

#include <cjson/cJSON.h>
#include <stdbool.h>

#include "message.h"

#define DEFAULT_THRESHOLD 25.0

/* Lets through messages whose machine temperature is above a threshold. */
struct filter {
    double threshold;
};

/* Takes the threshold from a twin or a patch; one that does not name it leaves it, null resets it. */
void filter_configure(struct filter *filter, const cJSON *desired);

/* Makes the alert for a message, which shares its memory; false if it is not above the threshold. */
bool filter_alert(const struct filter *filter, const struct message *message, struct message *alert);

#endif
