#include "workload.h"

#include <cjson/cJSON.h>
#include <curl/curl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "message.h"

#define ANSWER_WITHIN_SECONDS 30L
#define MAX_ANSWER (1024 * 1024)

struct answer {
    char *text;
    size_t length;
};

static size_t keep(char *data, size_t size, size_t count, void *context)
{
    struct answer *answer = context;
    size_t more = size * count;
    if (answer->length + more > MAX_ANSWER)
        return 0;
    char *text = realloc(answer->text, answer->length + more + 1);
    if (text == NULL)
        return 0;
    memcpy(text + answer->length, data, more);
    answer->text = text;
    answer->length += more;
    text[answer->length] = '\0';
    return more;
}

/* Makes a call, a POST if there is a body, and returns a member of the answer. */
static char *call(const struct environment *environment, const char *path, const char *body, const char *member)
{
    static const char UNIX[] = "unix://";
    bool is_unix = strncmp(environment->workload_uri, UNIX, strlen(UNIX)) == 0;
    const char *host = is_unix ? "http://localhost" : environment->workload_uri;
    size_t host_length = strlen(host);
    while (host_length > 0 && host[host_length - 1] == '/')
        host_length--;
    char *url = malloc(host_length + strlen(path) + 1);
    CURL *curl = curl_easy_init();
    if (url == NULL || curl == NULL)
        abort();
    sprintf(url, "%.*s%s", (int)host_length, host, path);
    struct answer answer = {NULL, 0};
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    curl_easy_setopt(curl, CURLOPT_URL, url);
    if (is_unix)
        curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, environment->workload_uri + strlen(UNIX));
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, ANSWER_WITHIN_SECONDS);
    curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
    if (body != NULL)
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    CURLcode code = curl_easy_perform(curl);

    char *value = NULL;
    if (code == CURLE_OK) {
        cJSON *document = answer.text == NULL ? NULL : cJSON_Parse(answer.text);
        const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(document, member));
        if (text != NULL)
            value = strdup(text);
        cJSON_Delete(document);
    }
    if (value == NULL)
        fprintf(stderr, "the workload API at %s: %s\n", environment->workload_uri,
                code == CURLE_OK ? "its answer is not what was expected" : curl_easy_strerror(code));
    free(answer.text);
    free(url);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    return value;
}

static void base64(const char *text, char *encoded)
{
    static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t length = strlen(text);
    for (size_t i = 0; i < length; i += 3) {
        unsigned long bits = (unsigned long)(unsigned char)text[i] << 16;
        if (i + 1 < length)
            bits |= (unsigned long)(unsigned char)text[i + 1] << 8;
        if (i + 2 < length)
            bits |= (unsigned char)text[i + 2];
        *encoded++ = DIGITS[bits >> 18 & 63];
        *encoded++ = DIGITS[bits >> 12 & 63];
        *encoded++ = i + 1 < length ? DIGITS[bits >> 6 & 63] : '=';
        *encoded++ = i + 2 < length ? DIGITS[bits & 63] : '=';
    }
    *encoded = '\0';
}

char *workload_trust_bundle(const struct environment *environment)
{
    char path[256];
    snprintf(path, sizeof path, "/trust-bundle?api-version=%s", environment->api_version);
    return call(environment, path, NULL, "certificate");
}

char *workload_token(const struct environment *environment, long seconds)
{
    long long expiry = (long long)time(NULL) + seconds;
    char audience[1024], resource[3 * sizeof audience], data[sizeof resource + 32], encoded[2 * sizeof data];
    snprintf(audience, sizeof audience, "%s/devices/%s/modules/%s", environment->hub, environment->device,
             environment->module);
    percent_encode(audience, resource);
    snprintf(data, sizeof data, "%s\n%lld", resource, expiry);
    base64(data, encoded);

    char module[512], generation[512], path[2048], body[sizeof encoded + 128];
    if (3 * strlen(environment->module) >= sizeof module || 3 * strlen(environment->generation) >= sizeof generation) {
        fprintf(stderr, "the module's name is too long\n");
        return NULL;
    }
    percent_encode(environment->module, module);
    percent_encode(environment->generation, generation);
    snprintf(path, sizeof path, "/modules/%s/genid/%s/sign?api-version=%s", module, generation,
             environment->api_version);
    snprintf(body, sizeof body, "{\"keyId\":\"primary\",\"algo\":\"HMACSHA256\",\"data\":\"%s\"}", encoded);
    char *digest = call(environment, path, body, "digest");
    if (digest == NULL)
        return NULL;
    size_t size = sizeof "SharedAccessSignature sr=&sig=&se=" + strlen(resource) + 3 * strlen(digest) + 32;
    char *token = malloc(size);
    char *signature = malloc(3 * strlen(digest) + 1);
    if (token == NULL || signature == NULL)
        abort();
    percent_encode(digest, signature);
    snprintf(token, size, "SharedAccessSignature sr=%s&sig=%s&se=%lld", resource, signature, expiry);
    free(signature);
    free(digest);
    return token;
}
