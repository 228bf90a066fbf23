//! What belongs to no section: names, limits of the process, profiles; and the inference library.

use super::{Row, proved};

pub(super) const ROWS: &[Row] = &[
    proved("name", "named in status", "names_are_what_the_pages_show"),
    proved("version", "shown in status and metrics", "labels_of_the_deployment_are_in_status_and_metrics"),
    proved(
        "debug",
        "log level debug unless logging.level is set",
        "the_log_has_the_levels_form_and_places_that_are_set",
    ),
    proved("environment", "shown in status and metrics", "labels_of_the_deployment_are_in_status_and_metrics"),
    proved(
        "thread_pool_size",
        "number of inference workers",
        "there_are_as_many_workers_as_set_on_the_cores_that_are_set",
    ),
    proved("max_concurrent_sources", "more enabled sources are refused", "more_sources_than_a_key_allows_do_not_start"),
    proved(
        "graceful_shutdown_timeout",
        "the process ends within it after a signal",
        "after_a_signal_the_end_comes_within_the_time_that_is_set",
    ),
    proved(
        "timezone",
        "the zone of local times, schedules and quiet hours",
        "scripts_are_told_the_local_time_of_the_zone_that_is_set",
    ),
    proved(
        "profiles",
        "parts of a configuration by name",
        "a_switch_changes_all_that_the_profiles_differ_in_and_outlasts_a_restart",
    ),
    proved(
        "profile",
        "the one of them that lies over the file",
        "a_flag_prevails_over_a_variable_a_switch_and_the_file",
    ),
    proved(
        "profile_schedule[].profile",
        "the profile that applies by itself",
        "a_profile_applies_by_itself_in_its_hours",
    ),
    proved("profile_schedule[].days", "the days on which its hours begin", "a_profile_applies_by_itself_in_its_hours"),
    proved("profile_schedule[].from", "when they begin", "a_profile_applies_by_itself_in_its_hours"),
    proved("profile_schedule[].to", "when they end", "a_profile_applies_by_itself_in_its_hours"),
    proved("extensions", "handed to scripts", "scripts_are_handed_the_extensions_and_their_changes"),
    // inference
    proved(
        "inference.ort_library",
        "the libonnxruntime that is opened",
        "the_inference_library_is_the_one_that_is_named",
    ),
];
