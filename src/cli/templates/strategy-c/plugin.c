// {{name}}: too many people in the zone for too long.
//
// config: `zone` (required), `most` (how many people raise an alert; default 3), `seconds` (for how long; default 0).
// state: `calls`, how many frames were judged.
//
// What a function hands out through `ret` or `err` is freed by the bindings after the engine has read it, so it has
// to come from malloc; what a function is given is its own to free.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "detection_strategy.h"

typedef detection_strategy_string_t string;

// The bindings refer to an object file that describes the contract; `dsengine plugin build` needs none.
void __component_type_object_force_link_detection_strategy(void) {}

static string zone;
static size_t most = 3;
static uint64_t hold_ns;
// Frame time since which there have been enough; only where `enough`.
static uint64_t since_ns;
static bool enough;

// A borrowed text, for arguments of imports.
static string text(const char *literal) {
    return (string){(uint8_t *)literal, strlen(literal)};
}

static void fail(exports_dsengine_plugin_strategy_error_t *err, const char *message) {
    detection_strategy_string_dup(&err->code, "config");
    detection_strategy_string_dup(&err->message, message);
}

// A number of the configuration: false where it is there and does not fit.
static bool number(const char *name, double lowest, double highest, double *value) {
    string key = text(name), got;
    if (!dsengine_plugin_config_get(&key, &got)) return true;
    char digits[32] = {0}, *end = digits;
    memcpy(digits, got.ptr, got.len < sizeof digits ? got.len : sizeof digits - 1);
    detection_strategy_string_free(&got);
    *value = strtod(digits, &end);
    return end != digits && *end == 0 && *value >= lowest && *value <= highest;
}

void exports_dsengine_plugin_strategy_describe(exports_dsengine_plugin_strategy_descriptor_t *ret) {
    memset(ret, 0, sizeof *ret);
    detection_strategy_string_dup(&ret->name, "{{name}}");
    detection_strategy_string_dup(&ret->version, "0.1.0");
    ret->labels.ptr = malloc(sizeof(string));
    ret->labels.len = 1;
    detection_strategy_string_dup(ret->labels.ptr, "person");
}

bool exports_dsengine_plugin_strategy_init(exports_dsengine_plugin_strategy_error_t *err) {
    string key = text("zone");
    double people = 3, seconds = 0;
    if (!dsengine_plugin_config_get(&key, &zone)) return fail(err, "config.zone is missing"), false;
    if (!number("most", 0, 1e6, &people)) return fail(err, "config.most is no number from 0 to 1000000"), false;
    if (!number("seconds", 0, 86400, &seconds)) return fail(err, "config.seconds is no number from 0 to 86400"), false;
    most = (size_t)people;
    hold_ns = (uint64_t)(seconds * 1e9);
    return true;
}

bool exports_dsengine_plugin_strategy_should_process(exports_dsengine_plugin_strategy_detection_t *detection) {
    exports_dsengine_plugin_strategy_detection_free(detection);
    return true;
}

static void count_call(void) {
    string key = text("calls");
    detection_strategy_list_u8_t bytes;
    uint64_t calls = 0;
    if (dsengine_plugin_state_get(&key, &bytes)) {
        if (bytes.len == sizeof calls) memcpy(&calls, bytes.ptr, sizeof calls);
        detection_strategy_list_u8_free(&bytes);
    }
    calls++;
    detection_strategy_list_u8_t value = {(uint8_t *)&calls, sizeof calls};
    dsengine_plugin_state_refusal_t refusal;
    if (!dsengine_plugin_state_set(&key, &value, NULL, &refusal)) dsengine_plugin_state_refusal_free(&refusal);
}

static bool is_person(const detection_strategy_string_t *label) {
    return label->len == 6 && memcmp(label->ptr, "person", 6) == 0;
}

static void raise_alert(exports_dsengine_plugin_strategy_verdict_t *ret, uint32_t *people, size_t found) {
    char message[160];
    snprintf(message, sizeof message, "%u people in %.*s", (unsigned)found, (int)(zone.len < 100 ? zone.len : 100),
             (const char *)zone.ptr);
    dsengine_plugin_types_alert_draft_t *alert = calloc(1, sizeof *alert);
    detection_strategy_string_dup(&alert->rule, "{{name}}");
    alert->level.is_some = true;
    alert->level.val = DSENGINE_PLUGIN_TYPES_LEVEL_HIGH;
    detection_strategy_string_dup_n(&alert->key, (const char *)zone.ptr, zone.len);
    detection_strategy_string_dup(&alert->message, message);
    alert->detections.ptr = people;
    alert->detections.len = found;
    ret->alerts.ptr = alert;
    ret->alerts.len = 1;
}

bool exports_dsengine_plugin_strategy_judge(exports_dsengine_plugin_strategy_frame_t *frame,
                                            detection_strategy_list_string_t *labels,
                                            exports_dsengine_plugin_strategy_list_seen_t *detections,
                                            exports_dsengine_plugin_strategy_verdict_t *ret,
                                            exports_dsengine_plugin_strategy_error_t *err) {
    (void)err;
    memset(ret, 0, sizeof *ret);
    count_call();
    // Those in the zone, of which the people stay in the list.
    detection_strategy_list_u32_t inside = {0};
    dsengine_plugin_detections_in_zone(&zone, &inside);
    uint32_t *people = inside.ptr;
    size_t found = 0;
    for (size_t i = 0; i < inside.len; i++)
        if (is_person(&labels->ptr[detections->ptr[inside.ptr[i]].label])) people[found++] = inside.ptr[i];
    if (found < most) {
        enough = false;
    } else if (!enough) {
        enough = true;
        since_ns = frame->pts_ns;
    }
    if (enough && found > 0 && frame->pts_ns - since_ns >= hold_ns)
        raise_alert(ret, people, found);
    else
        free(people);
    detection_strategy_list_string_free(labels);
    exports_dsengine_plugin_strategy_list_seen_free(detections);
    exports_dsengine_plugin_strategy_frame_free(frame);
    return true;
}

void exports_dsengine_plugin_strategy_suspend(detection_strategy_list_u8_t *ret) {
    memset(ret, 0, sizeof *ret);
    if (!enough) return;
    ret->len = sizeof since_ns;
    ret->ptr = malloc(ret->len);
    memcpy(ret->ptr, &since_ns, ret->len);
}

bool exports_dsengine_plugin_strategy_resume(detection_strategy_string_t *from_version,
                                             detection_strategy_list_u8_t *state,
                                             exports_dsengine_plugin_strategy_error_t *err) {
    (void)err;
    enough = state->len == sizeof since_ns;
    if (enough) memcpy(&since_ns, state->ptr, sizeof since_ns);
    detection_strategy_list_u8_free(state);
    detection_strategy_string_free(from_version);
    return true;
}
