#include "message.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const SYSTEM_KEYS[] = {"$.mid", "$.cid", "$.ct", "$.ce"};

bool message_add(struct message *message, const char *key, const char *value)
{
    if (message->count == MAX_PROPERTIES)
        return false;
    message->properties[message->count++] = (struct property){key, value};
    return true;
}

bool message_may_set(const char *key)
{
    if (strncmp(key, "$.", 2) != 0)
        return true;
    for (size_t i = 0; i < sizeof SYSTEM_KEYS / sizeof *SYSTEM_KEYS; i++) {
        if (strcmp(key, SYSTEM_KEYS[i]) == 0)
            return true;
    }
    return false;
}

void message_read_bag(struct message *message, char *bag)
{
    size_t length = strlen(bag);
    while (length > 0 && bag[length - 1] == '/')
        bag[--length] = '\0';
    char *rest = NULL;
    for (char *key = strtok_r(bag, "&", &rest); key != NULL; key = strtok_r(NULL, "&", &rest)) {
        char *value = strchr(key, '=');
        if (value == NULL)
            value = key + strlen(key);
        else
            *value++ = '\0';
        percent_decode(key);
        percent_decode(value);
        message_add(message, key, value);
    }
}

char *message_write_bag(const struct message *message, const char *start, const char *output)
{
    size_t size = strlen(start) + strlen("%24.on=") + 3 * strlen(output) + 1;
    for (size_t i = 0; i < message->count; i++)
        size += 2 + 3 * (strlen(message->properties[i].key) + strlen(message->properties[i].value));
    char *bag = malloc(size);
    if (bag == NULL)
        return NULL;
    size_t length = (size_t)sprintf(bag, "%s%%24.on=", start);
    percent_encode(output, bag + length);
    for (size_t i = 0; i < message->count; i++) {
        strcat(bag, "&");
        percent_encode(message->properties[i].key, bag + strlen(bag));
        strcat(bag, "=");
        percent_encode(message->properties[i].value, bag + strlen(bag));
    }
    return bag;
}

void percent_encode(const char *text, char *encoded)
{
    for (const unsigned char *byte = (const unsigned char *)text; *byte != '\0'; byte++) {
        if (*byte < 128 && (isalnum(*byte) || strchr("-_.~", *byte) != NULL))
            *encoded++ = (char)*byte;
        else
            encoded += sprintf(encoded, "%%%02X", *byte);
    }
    *encoded = '\0';
}

void percent_decode(char *text)
{
    char *to = text;
    for (const char *from = text; *from != '\0';) {
        if (from[0] == '%' && isxdigit((unsigned char)from[1]) && isxdigit((unsigned char)from[2])) {
            char digits[3] = {from[1], from[2], '\0'};
            *to++ = (char)strtol(digits, NULL, 16);
            from += 3;
        } else {
            *to++ = *from++;
        }
    }
    *to = '\0';
}
