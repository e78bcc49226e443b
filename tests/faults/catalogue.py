"""Every fault that the design lists, and the tests in which it happens. A test walks this list.

`CHAOS` happens by chance in the harness's own runs; what stands beside it happens for certain.
"""

from __future__ import annotations

from typing import Final

CHAOS: Final = "test_faults.py::test_nobody_is_mailed_twice_or_missed_whatever_happens"

FAULTS: Final[dict[str, tuple[str, ...]]] = {
    "kill -9 at each step": (CHAOS, "test_faults.py::test_a_process_killed_at_a_step_costs_no_mail_and_doubles_none"),
    "kill -9 inside the transactions that arm and that write sent": (
        CHAOS,
        "test_faults.py::test_a_process_killed_around_a_commit_costs_no_mail_and_doubles_none",
        "test_network.py::test_a_commit_that_arms_and_is_not_heard_of_lets_no_dot_leave",
    ),
    "SIGSTOP longer than the lease": (
        CHAOS,
        "test_faults.py::test_a_process_frozen_for_longer_than_its_lease_sends_nothing_late",
        "test_sender.py::test_a_machine_that_stood_still_between_arming_and_the_dot_sends_no_dot",
    ),
    "SIGTERM during a send": (CHAOS, "test_sender.py::test_what_is_on_its_way_is_finished_before_a_worker_stops"),
    "a time limit after the dot": (
        "test_sender.py::test_a_dot_without_an_answer_stays_armed_until_the_sweep_puts_it_in_doubt",
    ),
    "Redis flushed, killed, empty, out of memory, frozen": (
        CHAOS,
        "test_faults.py::test_a_lost_service_costs_no_mail_and_doubles_none",
        "test_relay.py::test_losing_every_hint_loses_time_and_no_mail",
        "test_scheduler.py::test_a_scheduler_goes_on_while_redis_is_away",
    ),
    "PostgreSQL stopped at once, or killed": (
        CHAOS,
        "test_faults.py::test_a_lost_service_costs_no_mail_and_doubles_none",
        "test_sender.py::test_a_database_that_goes_away_before_arming_lets_no_dot_leave",
    ),
    "PostgreSQL down when an acceptance is to be written": (
        "test_sender.py::test_a_database_that_goes_away_at_the_dot_learns_of_the_answer_later",
    ),
    "PostgreSQL's disk full": (
        "test_network.py::test_a_database_whose_disk_is_full_lets_no_dot_leave",
        "test_network.py::test_a_disk_that_is_full_when_a_mail_was_taken_is_waited_for",
    ),
    "a commit whose answer is lost": (
        CHAOS,
        "test_network.py::test_a_commit_that_arms_and_is_not_heard_of_lets_no_dot_leave",
        "test_network.py::test_a_commit_of_what_was_sent_that_is_not_heard_of_is_repeated_and_no_mail_is",
    ),
    "the server accepts and drops before its 250": (
        CHAOS,
        "test_sender.py::test_a_dot_without_an_answer_stays_armed_until_the_sweep_puts_it_in_doubt",
        "test_smtp.py::test_a_dot_without_an_answer_leaves_nobody_the_wiser",
    ),
    "the server answers after our time-out": (
        CHAOS,
        "test_sender.py::test_an_answer_that_comes_after_the_doubt_ends_it",
    ),
    "421, 451, 452": (CHAOS, "test_sender.py::test_what_may_pass_later_is_tried_later"),
    "535": ("test_sender.py::test_a_login_that_is_refused_holds_the_account_and_fails_no_mail",),
    "550, 552, 554": (CHAOS, "test_sender.py::test_what_is_refused_for_good_fails_and_raises_no_level"),
    "the server drips a byte at a time": (
        CHAOS,
        "test_network.py::test_a_server_that_answers_a_byte_at_a_time_takes_the_mail_once",
    ),
    "the connection cut in mid-mail": (
        CHAOS,
        "test_network.py::test_a_connection_cut_in_the_envelope_costs_time_and_no_mail",
    ),
    "no STARTTLS": ("test_smtp.py::test_a_server_that_offers_no_starttls_gets_no_mail_and_no_password",),
    "a self-signed certificate": ("test_smtp.py::test_a_certificate_that_nobody_vouches_for_is_refused",),
    "a certificate of another name": ("test_smtp.py::test_a_certificate_of_another_name_is_refused",),
    "the clock a day ahead or back": (
        "test_scheduler.py::test_a_jump_of_the_clock_stops_all_mail_until_a_person_has_looked",
    ),
    "both clock changes of the year": (
        "test_schedule.py::test_an_hour_that_does_not_exist_fires_once_at_the_next_one",
        "test_schedule.py::test_an_hour_that_occurs_twice_fires_once",
        "test_windows.py::test_eight_o_clock_stays_eight_o_clock_across_the_clock_changes",
    ),
    "a cron fired twice, three schedulers": (CHAOS, "test_scheduler.py::test_two_schedulers_make_one_run"),
    "one message to two workers": (CHAOS, "test_sender.py::test_two_workers_with_one_hint_send_one_mail"),
    "a payment, dispute or credit note at every step": (
        CHAOS,
        "test_tick.py::test_a_mail_whose_facts_have_changed_is_withdrawn",
        "stories/test_part_payment.py::test_a_credit_note_before_the_dot_changes_the_mail",
        "stories/test_part_payment.py::test_a_payment_that_meets_the_dot_finds_the_reminder_sent",
        "stories/test_dispute.py::test_a_dispute_before_the_dot_keeps_the_mail_back",
    ),
    "one template error in a thousand": (
        "test_sending.py::test_a_text_that_breaks_on_real_values_fails_its_own_mail_alone",
    ),
    "an address that no mail can be written to": (CHAOS,),
    "a word of the invoicing system duplicated, or out of order": (
        "test_operations_ledger.py::test_a_payment_is_booked_once_whoever_tells_of_it_twice",
        "test_operations_invoices.py::test_a_late_word_of_the_invoicing_system_changes_nothing",
        "test_telling.py::test_in_any_order_and_however_often_events_end_in_the_same_state",
    ),
    "an event malformed, huge, or for an unknown invoice": (
        "test_telling.py::test_what_is_malformed_hinders_none_of_its_neighbours",
        "test_telling.py::test_what_tells_of_an_unknown_invoice_waits_until_it_comes",
        "test_web_events.py::test_what_cannot_be_taken_is_refused_in_words",
        "test_stream.py::test_an_entry_that_nobody_can_read_blocks_none",
    ),
    "a rule edited while its mails are queued": (
        "test_sending.py::test_a_pinned_rule_is_sent_as_it_was_pinned",
        "stories/test_rule_deactivated.py::test_a_rule_switched_off_in_mid_run_holds_the_rest",
    ),
    "an account held while its mails are queued": (
        "stories/test_kill_switch.py::test_an_account_held_at_the_last_moment_keeps_its_mail",
    ),
    "a replay run twice": ("test_replay.py::test_a_replay_run_twice_sends_nothing_twice",),
    "yesterday's backup restored": (
        "test_backup.py::test_no_mail_leaves_after_a_restore_before_a_person_says_so",
        "test_instance.py::test_a_foreign_database_gets_no_runs_no_hints_and_no_work",
    ),
}
