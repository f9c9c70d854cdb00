#include "edge.h"

#include <mosquitto.h>
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "workload.h"

#define PORT 8883
#define KEEP_ALIVE_SECONDS 60
#define TOKEN_SECONDS 3600L
#define RENEW_BEFORE_SECONDS 300L
#define LAST_RETRY_SECONDS 10
#define LOOP_MILLISECONDS 500
#define AT_LEAST_ONCE 1

struct edge {
    struct environment environment;
    const struct edge_handlers *handlers;
    struct mosquitto *mqtt;
    char *topics; /* "devices/DEVICE/modules/MODULE", what the module's own topics start with */
    char trust[64]; /* the file with the certificates that are trusted */
    unsigned long request;
    unsigned long twin_request;
    bool connected;
};

static char *join(const char *const *parts)
{
    size_t size = 1;
    for (const char *const *part = parts; *part != NULL; part++)
        size += strlen(*part);
    char *text = malloc(size);
    if (text == NULL)
        abort();
    text[0] = '\0';
    for (const char *const *part = parts; *part != NULL; part++)
        strcat(text, *part);
    return text;
}
#define JOIN(...) join((const char *const[]){__VA_ARGS__, NULL})

static const char *required(const char *name, bool *missing)
{
    const char *value = getenv(name);
    if (value != NULL && value[0] != '\0')
        return value;
    if (!*missing)
        fprintf(stderr, "%s is not set: this program runs as a module, started by an edge runtime or by edgectl\n", name);
    *missing = true;
    return "";
}

static bool publish(struct edge *edge, const char *topic, const char *body, size_t length)
{
    int code = mosquitto_publish(edge->mqtt, NULL, topic, (int)length, body, AT_LEAST_ONCE, false);
    /* Without a connection it is kept, and sent with the next one. */
    if (code == MOSQ_ERR_SUCCESS || code == MOSQ_ERR_NO_CONN)
        return true;
    fprintf(stderr, "%s: %s\n", topic, mosquitto_strerror(code));
    return false;
}

static void ask_for_twin(struct edge *edge)
{
    char topic[64];
    edge->twin_request = ++edge->request;
    snprintf(topic, sizeof topic, "$iothub/twin/GET/?$rid=%lu", edge->twin_request);
    publish(edge, topic, " ", 1);
}

static void on_connect(struct mosquitto *mqtt, void *context, int code)
{
    struct edge *edge = context;
    if (code != 0) {
        fprintf(stderr, "the hub refuses the connection: %s\n", mosquitto_connack_string(code));
        return;
    }
    edge->connected = true;
    fprintf(stderr, "connected to the hub at %s\n", edge->environment.gateway);
    char *inputs = JOIN(edge->topics, "/inputs/#");
    const char *const filters[] = {"$iothub/methods/POST/#", "$iothub/twin/res/#",
                                   "$iothub/twin/PATCH/properties/desired/#", inputs};
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++)
        mosquitto_subscribe(mqtt, NULL, filters[i], AT_LEAST_ONCE);
    free(inputs);
    /* They may have changed in the meantime. */
    ask_for_twin(edge);
}

static void on_disconnect(struct mosquitto *mqtt, void *context, int code)
{
    (void)mqtt;
    (void)code;
    ((struct edge *)context)->connected = false;
}

/* The number after "$rid=" in a topic; what the hub gave may be no number, so it is left as text. */
static const char *request_of(const char *topic)
{
    const char *found = strstr(topic, "$rid=");
    return found == NULL ? "" : found + strlen("$rid=");
}

static void on_method(struct edge *edge, char *rest, const cJSON *payload)
{
    const char *request = request_of(rest);
    char *end = strstr(rest, "/?");
    if (end == NULL)
        return;
    *end = '\0';
    percent_decode(rest);
    cJSON *answer = cJSON_CreateObject();
    int status = edge->handlers->on_method(edge, rest, payload, answer);
    char *text = cJSON_PrintUnformatted(answer);
    char number[16];
    snprintf(number, sizeof number, "%d", status);
    char *topic = JOIN("$iothub/methods/res/", number, "/?$rid=", request);
    if (text != NULL)
        publish(edge, topic, text, strlen(text));
    free(topic);
    cJSON_free(text);
    cJSON_Delete(answer);
}

static void on_twin_answer(struct edge *edge, const char *rest, const cJSON *body)
{
    long status = strtol(rest, NULL, 10);
    bool is_twin = strtoul(request_of(rest), NULL, 10) == edge->twin_request;
    if (status >= 300)
        fprintf(stderr, "the hub answered a request about the twin with status %ld\n", status);
    else if (is_twin)
        edge->handlers->on_desired(edge, cJSON_GetObjectItemCaseSensitive(body, "desired"), true);
}

static const char *after(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0 ? text + strlen(start) : NULL;
}

static void on_input(struct edge *edge, char *rest, const struct mosquitto_message *arrived)
{
    char *bag = strchr(rest, '/');
    struct message message = {.body = arrived->payload, .length = (size_t)arrived->payloadlen};
    if (bag != NULL) {
        *bag++ = '\0';
        message_read_bag(&message, bag);
    }
    percent_decode(rest);
    edge->handlers->on_message(edge, rest, &message);
}

/* The library acknowledges a message before it hands it over: one that is being worked on is lost in a crash. */
static void on_arrival(struct mosquitto *mqtt, void *context, const struct mosquitto_message *arrived)
{
    (void)mqtt;
    struct edge *edge = context;
    char *topic = JOIN(arrived->topic);
    char *inputs = JOIN(edge->topics, "/inputs/");
    const char *rest;
    if ((rest = after(topic, inputs)) != NULL) {
        on_input(edge, topic + (rest - topic), arrived);
    } else {
        cJSON *body = cJSON_ParseWithLength(arrived->payload, (size_t)arrived->payloadlen);
        if ((rest = after(topic, "$iothub/methods/POST/")) != NULL)
            on_method(edge, topic + (rest - topic), body);
        else if ((rest = after(topic, "$iothub/twin/res/")) != NULL)
            on_twin_answer(edge, rest, body);
        else if (after(topic, "$iothub/twin/PATCH/properties/desired/") != NULL)
            edge->handlers->on_desired(edge, body, false);
        else
            fprintf(stderr, "nothing is known about the topic %s\n", topic);
        cJSON_Delete(body);
    }
    free(inputs);
    free(topic);
}

/* Writes the certificates that are trusted to a file, which the library reads whenever it connects. */
static bool keep_trust(struct edge *edge)
{
    char *bundle = workload_trust_bundle(&edge->environment);
    if (bundle == NULL)
        return false;
    strcpy(edge->trust, "/tmp/trust-XXXXXX");
    int file = mkstemp(edge->trust);
    ssize_t length = (ssize_t)strlen(bundle);
    bool written = file >= 0 && write(file, bundle, (size_t)length) == length;
    if (file >= 0)
        close(file);
    if (!written)
        perror(edge->trust);
    free(bundle);
    return written;
}

struct edge *edge_open(const struct edge_handlers *handlers)
{
    struct edge *edge = calloc(1, sizeof *edge);
    if (edge == NULL)
        abort();
    bool missing = false;
    edge->handlers = handlers;
    edge->environment = (struct environment){
        .hub = required("IOTEDGE_IOTHUBHOSTNAME", &missing),
        .gateway = required("IOTEDGE_GATEWAYHOSTNAME", &missing),
        .device = required("IOTEDGE_DEVICEID", &missing),
        .module = required("IOTEDGE_MODULEID", &missing),
        .generation = required("IOTEDGE_MODULEGENERATIONID", &missing),
        .workload_uri = required("IOTEDGE_WORKLOADURI", &missing),
        .api_version = required("IOTEDGE_APIVERSION", &missing),
    };
    curl_global_init(CURL_GLOBAL_DEFAULT);
    mosquitto_lib_init();
    const struct environment *self = &edge->environment;
    char *client = JOIN(self->device, "/", self->module);
    edge->topics = JOIN("devices/", self->device, "/modules/", self->module);
    /* No clean session: the hub keeps subscriptions and messages for a module that is away. */
    edge->mqtt = mosquitto_new(client, false, edge);
    free(client);
    if (missing || edge->mqtt == NULL || !keep_trust(edge) ||
        mosquitto_tls_set(edge->mqtt, edge->trust, NULL, NULL, NULL, NULL) != MOSQ_ERR_SUCCESS) {
        edge_close(edge);
        return NULL;
    }
    mosquitto_connect_callback_set(edge->mqtt, on_connect);
    mosquitto_disconnect_callback_set(edge->mqtt, on_disconnect);
    mosquitto_message_callback_set(edge->mqtt, on_arrival);
    return edge;
}

/* Starts a connection with a token of its own, so that a new token means a new connection. */
static bool connect_to_hub(struct edge *edge)
{
    const struct environment *self = &edge->environment;
    char *token = workload_token(self, TOKEN_SECONDS);
    if (token == NULL)
        return false;
    char *user = JOIN(self->hub, "/", self->device, "/", self->module,
                      "/?api-version=2021-04-12&DeviceClientType=edgectl-module-c");
    mosquitto_username_pw_set(edge->mqtt, user, token);
    free(user);
    free(token);
    int code = mosquitto_connect(edge->mqtt, self->gateway, PORT, KEEP_ALIVE_SECONDS);
    if (code != MOSQ_ERR_SUCCESS)
        fprintf(stderr, "%s\n", mosquitto_strerror(code));
    return code == MOSQ_ERR_SUCCESS;
}

void edge_run(struct edge *edge, const volatile sig_atomic_t *stop)
{
    unsigned int retry = 1;
    while (!*stop) {
        time_t renewal = time(NULL) + TOKEN_SECONDS - RENEW_BEFORE_SECONDS;
        int code = MOSQ_ERR_SUCCESS;
        bool renewing = false;
        if (connect_to_hub(edge)) {
            while (!*stop && code == MOSQ_ERR_SUCCESS && !renewing) {
                code = mosquitto_loop(edge->mqtt, LOOP_MILLISECONDS, 1);
                retry = edge->connected ? 1 : retry;
                renewing = time(NULL) >= renewal;
            }
        }
        if (renewing) {
            mosquitto_disconnect(edge->mqtt);
        } else if (!*stop) {
            fprintf(stderr, "not connected to the hub, trying again in %u s\n", retry);
            /* A signal ends the sleep. */
            sleep(retry);
            retry = retry * 2 < LAST_RETRY_SECONDS ? retry * 2 : LAST_RETRY_SECONDS;
        }
    }
}

bool edge_send(struct edge *edge, const char *output, const struct message *message)
{
    char *start = JOIN(edge->topics, "/messages/events/");
    char *topic = message_write_bag(message, start, output);
    bool sent = topic != NULL && publish(edge, topic, message->body, message->length);
    free(topic);
    free(start);
    return sent;
}

bool edge_report(struct edge *edge, const cJSON *properties)
{
    char topic[96];
    snprintf(topic, sizeof topic, "$iothub/twin/PATCH/properties/reported/?$rid=%lu", ++edge->request);
    char *text = cJSON_PrintUnformatted(properties);
    bool sent = text != NULL && publish(edge, topic, text, strlen(text));
    cJSON_free(text);
    return sent;
}

void edge_close(struct edge *edge)
{
    if (edge->mqtt != NULL) {
        if (edge->connected) {
            mosquitto_disconnect(edge->mqtt);
            mosquitto_loop(edge->mqtt, LOOP_MILLISECONDS, 1);
        }
        mosquitto_destroy(edge->mqtt);
    }
    if (edge->trust[0] != '\0')
        unlink(edge->trust);
    mosquitto_lib_cleanup();
    curl_global_cleanup();
    free(edge->topics);
    free(edge);
}
