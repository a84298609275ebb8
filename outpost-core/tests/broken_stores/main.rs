//! The suite tests itself: each of these stores is broken in one way, and a named case must catch it.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

mod broken;
mod counting;
mod forgetting;
mod writing;

use std::cell::Cell;
use std::panic;
use std::sync::Once;
use std::time::Duration;

use outpost_core::MemoryStore;
use outpost_core::conformance::{Fixture, cases, run_within};

use self::broken::Broken;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// The cases' panics are what these tests are after, so they are not shown.
fn hide_wanted_panics() {
    static HIDE: Once = Once::new();
    HIDE.call_once(|| {
        let show = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let on_runtime = std::thread::current().name().is_some_and(|name| name.starts_with("tokio"));
            if !on_runtime && !QUIET.get() {
                show(info);
            }
        }));
    });
}

fn fixture(how: Breakage) -> Fixture {
    let store = MemoryStore::new();
    let other = store.another_process();
    Fixture::new(Broken::new(store, how)).with_other(other)
}

fn is_caught(how: Breakage, case: &str) -> bool {
    hide_wanted_panics();
    QUIET.set(true);
    let result = panic::catch_unwind(|| run_within(case, Duration::from_secs(3), || async { fixture(how) }));
    QUIET.set(false);
    result.is_err()
}

/// For each way to be broken: the name of its test, and the case that must catch it.
macro_rules! breakages {
    ($($how:ident $test:ident => $case:ident;)*) => {
        /// A way to be broken.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Breakage {
            /// None: the wrapper itself is sound.
            Nothing,
            $($how,)*
        }

        const TABLE: &[(Breakage, &str)] = &[$((Breakage::$how, stringify!($case)),)*];

        mod caught {
            $(
                #[test]
                fn $test() {
                    let (how, case) = (super::Breakage::$how, stringify!($case));
                    assert!(super::is_caught(how, case), "{case} must fail on a store that is broken: {how:?}");
                }
            )*
        }
    };
}

breakages! {
    // apply
    AppliesPartOfABatch a_batch_is_written_in_part => a_refused_write_undoes_the_whole_batch;
    AppliesWithPauses a_batch_is_written_with_pauses => an_abandoned_apply_is_whole_or_nothing;
    IgnoresLimits limits_are_ignored => the_limit_counts_living_destinations;
    ChecksLimitsBefore limits_are_checked_before_the_write => parallel_creates_keep_the_limit;
    IgnoresRevisions revisions_are_ignored => a_stale_destination_write_is_refused;
    OverwritesRecords put_if_absent_overwrites => put_if_absent_never_overwrites;
    KeepsExpiredRecordsTaken expired_records_stay_taken => an_expired_record_counts_as_absent;
    DropsFollowUps follow_ups_are_dropped => follow_ups_are_stored_with_the_writes;
    ChecksNoFollowUps follow_ups_are_not_checked => outdated_follow_ups_undo_the_writes;
    IgnoresCancels cancels_are_ignored => what_is_cancelled_is_not_sent;
    IgnoresRequests requests_are_ignored => a_request_after_enabling_is_attempted;
    RevivesOnEnabling enabling_revives => enabling_does_not_revive;
    KeepsDestinationsOfTheDeleted a_deleted_tenants_destinations_stay => deleting_a_tenant_deletes_its_destinations;
    ForgetsWhyItWasDeleted the_reason_of_a_deletion_is_lost => deleting_a_tenant_cancels_what_is_open;
    KeepsSecretsOfTheDeleted deleted_secrets_are_kept => deleting_wipes_what_is_sealed;
    WipesTheLog deleting_wipes_too_much => deleting_wipes_what_is_sealed;
    InheritsTheEarlierLife a_recreated_tenant_inherits => a_recreated_tenant_sees_nothing_of_its_earlier_life;
    KeepsSecretsAsText sealed_bytes_become_text => a_created_destination_is_read_back_whole;
    // fetch
    ReadsExpiredRecords expired_records_are_read => an_expired_record_counts_as_absent;
    MixesUpAnswers answers_are_mixed_up => answers_come_in_the_order_of_the_keys;
    ReserialisesPayloads payloads_are_reserialised => payloads_keep_their_exact_bytes;
    LosesMetadata metadata_is_lost => metadata_is_kept;
    ReversesAttempts attempts_are_reversed => attempts_are_ordered_by_number;
    FetchesAcrossTenants a_fetch_crosses_tenants => a_key_does_not_reach_into_another_tenant;
    ShowsWhatIsWritten what_is_written_is_shown => disabling_skips_what_is_open;
    // scan
    ScansAcrossTenants a_scan_crosses_tenants => a_tenants_list_holds_only_its_own_rows;
    ScansTheWrongWay a_scan_goes_the_wrong_way => events_are_listed_by_time_id_and_tenant;
    AlwaysResumes every_page_resumes => a_page_that_ends_the_list_does_not_resume;
    NeverResumes no_page_resumes => a_full_page_resumes_after_its_last_row;
    LooksAheadWithoutFilter the_look_ahead_forgets_the_filter => what_follows_must_match_to_resume;
    ExaminesEverything the_examine_bound_is_ignored => the_rows_examined_are_bounded;
    EndsAtTheBound the_examine_bound_ends_the_list => a_walk_in_small_bounds_finds_every_row;
    SkipsAtPageEnds rows_at_page_ends_are_skipped => tenants_are_listed_by_creation_and_id;
    RepeatsAtPageEnds rows_at_page_ends_are_repeated => deliveries_are_listed_by_creation_event_and_destination;
    ResumesByTimeAlone equal_times_are_skipped => rows_of_one_time_are_all_paged;
    FiltersWrittenStates states_are_filtered_as_written => deliveries_are_found_by_the_state_they_are_shown_in;
    IncludesUntil until_is_inclusive => from_is_inclusive_and_until_exclusive;
    ExcludesFrom from_is_exclusive => from_is_inclusive_and_until_exclusive;
    IgnoresTopics topics_are_ignored => topics_are_matched_literally;
    TakesTopicsAsPatterns topics_are_patterns => topics_are_matched_literally;
    IgnoresDestinations destinations_are_ignored => events_are_found_by_destination;
    IgnoresEvents events_are_ignored => attempts_are_found_by_destination_and_event;
    IgnoresCodes codes_are_ignored => deliveries_are_found_by_the_code_of_their_latest_attempt;
    FiltersAnyCode earlier_attempts_are_found => only_the_latest_code_of_a_delivery_counts;
    CountsMatchesAsExamined the_bound_counts_matches_only => codes_are_looked_for_within_the_bound;
    IgnoresSuccess success_is_ignored => attempts_are_found_by_success;
    FoldsCase ids_are_sorted_without_case => events_are_listed_by_time_id_and_tenant;
    // ingest
    StoresRepeats repeats_are_stored => a_repeated_event_is_a_duplicate;
    StoresRepeatsInABatch repeats_in_a_batch_are_stored => a_repeat_within_a_batch_is_recognised;
    TakesConflictsForRepeats conflicts_pass_for_repeats => another_event_with_the_id_is_a_conflict;
    ChecksNoSubscriptions subscriptions_are_not_checked => outdated_subscriptions_store_nothing;
    ChecksSubscriptionsFirst subscriptions_are_checked_before_the_id => a_repeat_is_a_duplicate_whatever_the_subscriptions;
    FailsBatchesTogether one_item_fails_its_batch => one_bad_item_fails_alone;
    SendsToTheDisabled disabled_matches_are_sent => a_disabled_match_is_stored_as_skipped;
    HandsOffInSpiteOfHolds a_held_lane_hands_off => a_held_lane_hands_nothing_off;
    HandsOffWithoutLease hand_offs_are_not_leased => a_hand_off_is_leased;
    OrdersByArrival events_are_timed_by_arrival => an_events_own_time_orders_and_filters_it;
    // claim
    ClaimsLate due_needs_to_be_past => what_is_due_exactly_now_is_claimed;
    ClaimsForEver leases_never_end => an_expired_lease_is_claimed_again;
    ClaimsWithoutLease claims_lease_nothing => leased_deliveries_are_not_claimed_again;
    IgnoresLaneLimits lane_limits_are_ignored => discovery_takes_so_many_from_each_lane;
    IgnoresNames named_lanes_are_ignored => named_lanes_come_first_with_limits_of_their_own;
    ClaimsSaturated saturated_lanes_are_claimed => saturated_lanes_are_passed_over_and_rest;
    ClaimsOverTheLimit lanes_for_urgent_work_give_all => a_lane_for_urgent_work_only_gives_nothing_else;
    ForgetsRest lanes_never_rest => a_lane_with_work_left_rests;
    HoldsRequests holds_stop_requests => a_requested_attempt_passes_a_hold;
    IgnoresStrikes strikes_are_ignored => a_lane_with_strikes_gives_one_probe;
    ReversesLanes a_lane_is_reversed => the_oldest_due_of_a_lane_comes_first;
    ServesRequestsLast requests_come_last => requested_ones_of_a_lane_come_first;
    ForgetsNext next_is_missing => next_tells_when_to_come_back;
    ForgetsMore more_is_missing => a_visited_lane_is_told_as_it_is_stored;
    StarvesOtherLanes a_backlog_starves_other_lanes => a_backlog_does_not_starve_other_lanes;
    // settle
    HasNoFence the_fence_is_missing => a_foreign_token_is_stale;
    FencesExpired expired_leases_are_stale => an_expired_lease_that_nobody_took_still_settles;
    LosesLaneChanges lane_changes_are_lost => a_hold_is_written_with_the_outcome;
    ShortensHolds holds_are_shortened => an_earlier_hold_does_not_shorten_a_later_one;
    LosesDisabling disabling_is_lost => disabling_comes_with_the_outcome;
    LosesFollowUps follow_ups_are_lost => follow_ups_are_stored_with_the_outcome;
    SettlesOutdated outdated_follow_ups_are_stored => an_outdated_follow_up_writes_nothing;
    StoresFollowUpsApart follow_ups_are_stored_apart => a_stale_item_stores_no_follow_up;
    ForgetsReleases releases_are_forgotten => what_is_released_is_due_again_as_it_was;
    ForgetsExtensions extensions_are_forgotten => an_extension_lengthens_the_lease;
    ForgetsRetirement retirement_is_forgotten => what_is_retired_has_ended;
    LosesRetries retries_are_lost => a_failure_with_budget_is_retried;
    ChargesRequests requests_cost_budget => attempts_are_counted;
    SettlesTheFirst only_the_first_of_a_batch_is_settled => one_stale_item_fails_alone;
    SettlesBackwards a_batch_is_settled_backwards => items_are_settled_in_their_order;
    SettlesWithPauses settling_writes_with_pauses => an_abandoned_settle_is_whole_or_nothing;
    TruncatesBodies bodies_are_truncated => answers_keep_their_bytes;
    KeepsBodiesAsText bodies_become_text => answers_keep_their_bytes;
    RoundsDurations durations_are_rounded => durations_keep_their_microseconds;
    SortsHeaders headers_are_sorted => headers_keep_order_and_repeats;
    LosesErrors errors_are_lost => an_attempt_without_an_answer_keeps_its_error;
    // health
    SharesHealth health_is_shared_between_tenants => tenants_do_not_share_health;
    WarnsTwice warnings_are_told_twice => warnings_are_told_once_at_their_counts;
    WarnsNever warnings_are_not_told => one_batch_may_reach_several_thresholds;
    KeepsHealthOnEnabling health_outlives_enabling => enabling_starts_health_anew;
    HealsWithAnyChange any_change_heals => other_changes_keep_health;
    JudgesTheStale stale_failures_count => a_stale_item_changes_no_health;
    JudgesTheDisabled failures_after_the_disabling_count => attempts_after_the_disabling_count_nothing;
    JudgesUnasked unjudged_failures_count => unjudged_attempts_count_nothing;
    CutsErrors last_errors_are_cut => health_is_read_back_exactly;
    LosesJudgedDisabling judged_disabling_is_lost => too_many_failures_disable_in_the_same_commit;
    JudgesBeforeTheItem a_judgement_comes_before_its_item => what_an_item_disables_comes_before_its_judgement;
    DisablesAgain a_disabling_is_told_again => a_disabling_is_told_by_the_item_that_does_it;
    DropsAlerts alerts_are_dropped => alerts_are_stored_with_the_outcome;
    StoresAlertsApart alerts_are_stored_apart => outdated_alerts_write_nothing;
    // rollups
    CountsNoEvents events_are_not_counted => an_event_counts_once_and_once_for_each_match;
    CountsNoAttempts attempts_are_not_counted => attempts_count_by_how_they_ended;
    CountsNoFollowUps follow_ups_are_not_counted => follow_ups_count_as_events;
    CountsRepeats repeats_are_counted => what_is_not_stored_counts_no_event;
    CountsSkippedMatches skipped_matches_are_counted => a_disabled_match_counts_no_event;
    CountsTests tests_are_counted => tests_count_no_attempt;
    CountsStaleAttempts stale_attempts_are_counted => what_writes_no_attempt_counts_none;
    MixesUpCodes codes_are_mixed_up => attempts_count_by_how_they_ended;
    LosesLatency latencies_are_lost => the_numbers_of_attempts_add_up;
    RoundsTowardsTheEpoch early_times_are_rounded_up => odd_times_and_codes_count_where_they_belong;
    RollupsCrossTenants rollups_cross_tenants => a_tenants_rollups_are_its_own;
    RollupsIncludeUntil rollups_include_until => rollups_from_is_inclusive_and_until_exclusive;
    RollupsExcludeFrom rollups_exclude_from => rollups_from_is_inclusive_and_until_exclusive;
    RollupsForgetMore more_rollups_are_not_told => rollups_are_ordered_and_limited;
    OrdersRollupsByTenant rollups_are_ordered_by_tenant => rollups_are_ordered_and_limited;
    SweepsNoRollups old_rollups_stay => a_sweep_deletes_old_rollups_of_each_level;
    SweepsLevelsAlike all_levels_are_swept_alike => a_sweep_deletes_old_rollups_of_each_level;
    // usage and quotas
    IgnoresQuotas quotas_are_ignored => too_many_bytes_are_over_quota;
    ReachesQuotasEarly quotas_are_reached_early => too_many_bytes_are_over_quota;
    CountsQuotasPerBatch quotas_ignore_the_batch => earlier_items_of_a_batch_count_into_the_quota;
    ChecksQuotasFirst quotas_are_checked_first => repeats_and_the_outdated_are_told_before_the_quota;
    LimitsFollowUps quotas_limit_follow_ups => follow_ups_are_stored_over_quota;
    SharesQuotas quotas_are_shared => a_quota_is_each_tenants_own;
    CountsNoBodies bodies_are_not_counted => answers_bodies_are_counted;
    CountsEndedAsOpen open_never_falls => open_falls_with_disabling_and_deletion;
    NeverGivesBack usage_never_falls => pruning_gives_back_what_was_stored;
    // replay
    ReplaysUrgently replays_pass_a_hold => a_replay_waits_behind_a_hold;
    CountsRefusedReplays refused_replays_are_counted => a_replay_passes_over_what_does_not_allow_it;
    CreatesNoReplays replays_create_nothing => a_replay_creates_what_is_missing;
    ReplaysForStrangers replays_create_for_strangers => a_replay_creates_nothing_for_strangers;
    ReplaysAtAnyRevision replays_ignore_the_revision => a_replay_at_another_revision_is_stale;
    ReplaysToTheDisabled replays_ignore_the_disabling => a_replay_needs_an_enabled_destination;
    ReplaysApart a_replay_is_a_commit_of_its_own => a_replay_and_its_progress_are_one_commit;
    // prune
    PrunesByCreation pruning_ignores_later_attempts => a_later_attempt_makes_an_event_younger;
    PrunesTheOpen pruning_takes_the_open => what_is_not_over_stays_whatever_its_age;
    PrunesTheRequested pruning_takes_the_requested => what_is_not_over_stays_whatever_its_age;
    PrunesTheHeld pruning_takes_the_held => what_is_held_after_its_end_stays;
    PrunesHalfDone pruning_takes_the_half_done => every_delivery_of_an_event_must_be_over;
    PrunesByOwnTime pruning_goes_by_an_events_own_time => what_was_never_delivered_goes_by_when_it_was_stored;
    PrunesTheUnswept pruning_takes_the_unswept => what_a_disabling_ended_stays_until_it_is_swept;
    KeepsRequestsInVain requests_in_vain_are_kept => a_request_that_its_destination_ended_keeps_nothing;
    PrunesAtTheBoundary pruning_includes_its_boundary => what_ended_before_goes_and_what_ended_then_stays;
    LeavesAttemptsBehind pruning_leaves_attempts_behind => everything_goes_with_its_event;
    PrunesAcrossTenants pruning_crosses_tenants => pruning_one_tenant_leaves_others;
    PrunesWithoutLimit pruning_has_no_limit => a_prune_is_bounded;
    PrunesWithoutBound pruning_examines_everything => a_prune_is_bounded;
    PrunesOnlyOnce pruning_does_not_resume => a_walk_of_prunes_examines_everything_once;
    KeepsNothingBack pruning_does_not_count_what_it_keeps => a_walk_of_prunes_examines_everything_once;
    RemembersPrunedIds pruned_ids_stay_taken => a_pruned_id_is_free_again;
    ForgetsRollupsToo rollups_go_with_the_log => rollups_outlive_the_log;
    // records and destinations
    TakesKeysAsPatterns the_start_of_a_key_is_a_pattern => the_start_of_a_key_is_literal;
    FindsExpiredRecords expired_records_are_found => expired_records_are_not_found_by_the_start_of_their_key;
    ReversesRecords records_are_reversed => records_are_found_by_the_start_of_their_key;
    ReserialisesFilters filters_are_reserialised => filter_settings_and_maker_are_kept_exactly;
    ForgetsTheMaker the_maker_is_forgotten => filter_settings_and_maker_are_kept_exactly;
    ClaimsWithoutSettings claims_lose_the_settings => a_visited_lane_carries_its_destinations_settings;
    // the rest
    SweepsNothing a_sweep_does_nothing => a_sweep_is_bounded_and_comes_to_an_end;
    SweepsLeased a_sweep_takes_leased_deliveries => a_sweep_leaves_leased_deliveries_to_their_holder;
    SweepsWithoutBound a_sweep_has_no_bound => a_sweep_is_bounded_and_comes_to_an_end;
    SweepsForEver a_sweep_never_ends => a_sweep_leaves_everything_else_alone;
    HearsNothing changes_are_not_told => foreign_changes_are_told;
    HearsItself own_changes_are_told => own_changes_are_not_told;
    StaysOpen a_closed_store_goes_on => a_closed_store_is_unavailable;
}

/// A wrapper that breaks nothing passes everything, so what is caught above is caught for its breakage.
mod healthy {
    outpost_core::conformance_suite!(|| async { super::fixture(super::Breakage::Nothing) });
}

#[test]
fn every_case_is_named_once_and_every_named_case_exists() {
    let mut names: Vec<&str> = cases().iter().map(|case| case.name).collect();
    for (how, case) in TABLE {
        assert!(names.contains(case), "{how:?} names the case {case}, which does not exist");
    }
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "no two cases have the same name");
}
