/* A module that lets through what is too hot: each message on input1 whose machine temperature is above the desired
   property TemperatureThreshold leaves on output1, marked with the property MessageType: Alert. */

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "edge.h"
#include "filter.h"

static struct filter filter = {DEFAULT_THRESHOLD};
static volatile sig_atomic_t stop;

static void on_signal(int number)
{
    (void)number;
    stop = 1;
}

/* Filters one message. */
static void on_message(struct edge *edge, const char *input, const struct message *message)
{
    struct message alert;
    if (strcmp(input, "input1") != 0)
        fprintf(stderr, "nothing is expected on input %s\n", input);
    else if (filter_alert(&filter, message, &alert) && edge_send(edge, "output1", &alert))
        fprintf(stderr, "alert: %.*s\n", (int)alert.length, alert.body);
}

/* Takes over the desired properties, and reports what is in force now. */
static void on_desired(struct edge *edge, const cJSON *desired, bool is_whole)
{
    if (is_whole)
        filter.threshold = DEFAULT_THRESHOLD;
    filter_configure(&filter, desired);
    fprintf(stderr, "threshold: %g\n", filter.threshold);
    cJSON *reported = cJSON_CreateObject();
    cJSON_AddNumberToObject(reported, "TemperatureThreshold", filter.threshold);
    edge_report(edge, reported);
    cJSON_Delete(reported);
}

/* Answers direct methods. */
static int on_method(struct edge *edge, const char *name, const cJSON *payload, cJSON *answer)
{
    (void)edge;
    (void)payload;
    int status = 200;
    if (strcmp(name, "threshold") == 0) {
        cJSON_AddNumberToObject(answer, "TemperatureThreshold", filter.threshold);
    } else {
        status = 404;
        cJSON_AddStringToObject(answer, "error", "there is no such method");
    }
    fprintf(stderr, "method %s: %d\n", name, status);
    return status;
}

int main(void)
{
    /* Not restarted: what the module waits for ends when it is asked to stop. */
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    signal(SIGPIPE, SIG_IGN);

    static const struct edge_handlers handlers = {on_message, on_desired, on_method};
    struct edge *edge = edge_open(&handlers);
    if (edge == NULL)
        return 1;
    edge_run(edge, &stop);
    fprintf(stderr, "asked to stop\n");
    edge_close(edge);
    return 0;
}
