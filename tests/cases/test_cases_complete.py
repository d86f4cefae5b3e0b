"""Every case of sections A to E and I has its tests, or a reason why there is none."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from cases.bodies import HEAVY, cases

TESTS = Path(__file__).resolve().parent.parent
SECTIONS = {
    "A": (1, 2, 3, 4, 5, 7, 8, 9, 10, 12, 14, 16, 18, 19, 20),
    "B": (1, 2, 3, 4, 5, 6, 7, 10, 12),
    "C": (1, 3, 4, 5, 6, 7, 10, 11, 13, 14, 15),
    "D": (1, 3, 4, 6, 7, 8, 9, 10, 11, 13, 14),
    "E": (1, 3, 4, 5, 7),
    "I": (1, 2, 4, 5, 6, 8, 9, 10, 11, 12, 14, 15, 16, 17, 18, 19, 20),
}
NUMBERS = {f"{section}{number}" for section, numbers in SECTIONS.items() for number in numbers}
HTTP = "cases/test_cases_http.py"
VALUES, LOAD = "cases/test_cases_values.py", "cases/test_cases_load.py"
BY_TEST: dict[str, tuple[str, ...]] = {
    "A3": (f"{VALUES}::test_a_value_at_the_edge_works_and_harms_nobody",),
    "A9": (
        "model/test_speculation_invariance.py::test_drafts_change_no_bit",
        "null/test_speculation_engine.py::test_nothing_but_the_number_of_steps_changes",
    ),
    "A18": (f"{VALUES}::test_a18_a_seed_gives_the_same_text_in_any_batch",),
    "A19": (f"{VALUES}::test_a19_null_everywhere_is_the_default",),
    "A20": (f"{VALUES}::test_a20_every_integer_is_honoured_or_refused_by_name",),
    "B4": (f"{VALUES}::test_b4_a_prompt_that_never_fits_the_pool_is_refused_at_once",),
    "B5": (
        f"{HTTP}::test_a_body_of_the_wrong_kind_or_size",
        "server/test_server_body.py::test_a_body_beyond_the_limit_is_refused_before_it_is_whole",
    ),
    "B6": (
        f"{VALUES}::test_b6_long_texts_are_tokenised_off_the_event_loop",
        "e2e/test_refusals.py::test_a_text_that_cannot_fit_is_refused_soon",
    ),
    "B10": (
        "server/test_server_completions.py::"
        "test_offsets_of_an_echo_of_split_characters_are_those_of_the_characters",
    ),
    "B12": (
        "server/test_server_log.py::test_a_call_is_one_text_line_too",
        "server/test_server_log.py::test_an_exception_stays_on_one_line",
        f"{HTTP}::test_a_request_id_that_is_not_plain_is_not_sent_back",
    ),
    "C4": (
        "server/test_server_connection.py::"
        "test_what_is_not_http_is_refused_in_the_words_of_the_api",
    ),
    "C5": (
        "server/test_server_guard.py::test_paths_that_only_look_open_are_closed",
        "server/test_server_guard.py::test_a_host_list_shuts_out_other_names",
    ),
    "C6": ("server/test_server_guard.py::test_only_the_open_list_answers_without_a_key",),
    "C7": (
        "server/test_server_guard.py::test_a_wrong_key_is_refused",
        "server/test_server_guard.py::test_a_key_elsewhere_or_twice_does_not_count",
    ),
    "C10": (
        "server/test_server_connection.py::test_many_heads_that_drip_hold_up_nobody",
        "server/test_server_connection.py::test_a_head_that_never_ends_is_refused_however_it_drips",
        "server/test_server_body.py::test_a_body_that_does_not_arrive_times_out",
    ),
    "C11": (
        f"{LOAD}::"
        "test_c11_a_reader_that_takes_nothing_is_cut_off_and_its_blocks_are_back_in_two_steps",
        "e2e/test_survival.py::test_readers_that_take_nothing_hold_up_nobody",
    ),
    "C13": (
        f"{HTTP}::test_a_request_id_that_is_not_plain_is_not_sent_back",
        "server/test_server_guard.py::test_a_callers_id_never_becomes_an_internal_one",
    ),
    "C14": (
        "server/test_server_guard.py::test_no_cross_origin_call_is_allowed",
        "server/test_server_run.py::test_a_server_on_loopback_serves_its_own_names_alone",
    ),
    "D3": ("text/test_chat.py::test_what_the_sandbox_forbids_ends_the_rendering",),
    "D4": (
        "text/test_chat.py::test_a_template_that_is_not_allowed_is_refused_at_load",
        "text/test_chat.py::test_work_and_size_are_bounded",
        "text/test_chat.py::test_time_is_bounded",
    ),
    "D11": (
        f"{VALUES}::test_d11_many_unique_schemas_harm_nobody",
        "constrain/test_constrain_limits.py::"
        "test_unique_schemas_do_not_grow_the_cache_without_bound",
    ),
    "D13": (
        "constrain/test_constrain_engine.py::"
        "test_samples_are_valid_and_the_same_alone_preempted_and_drafted",
    ),
    "E3": (f"{VALUES}::test_e3_nothing_in_the_package_can_run_what_it_reads",),
    "E4": (
        "server/test_server_connection.py::"
        "test_what_is_not_http_is_refused_in_the_words_of_the_api",
    ),
    "E5": (
        "model/test_load.py::test_pickles_are_never_loaded",
        "model/test_load.py::test_code_that_comes_with_a_model_is_never_run",
    ),
    "E7": (f"{HTTP}::test_a_bad_input_is_refused_and_harms_nobody",),
    "I1": (
        "sim/test_overload.py::test_overload_costs_no_goodput_and_the_admitted_are_on_time",
        "null/test_forecast.py::test_the_asynchronous_engine_refuses_before_it_queues",
    ),
    "I2": (
        f"{LOAD}::test_i2_the_queue_takes_requests_whole_and_refuses_the_rest_with_a_time",
        "null/test_async_engine.py::test_the_waiting_queue_is_bounded_and_takes_requests_whole",
    ),
    "I4": (
        f"{LOAD}::test_i4_one_key_with_many_long_requests_does_not_hold_up_another",
        "null/test_fairness.py::"
        "test_a_tenant_with_hundreds_of_long_requests_does_not_starve_another",
    ),
    "I5": (
        f"{LOAD}::test_i5_after_a_mixed_crowd_everything_is_as_before",
        "sim/test_random_schedules.py::test_blocks_add_up_tokens_are_right_and_everything_ends",
    ),
    "I6": (
        f"{HTTP}::test_invented_models_are_not_found_and_not_counted_apart",
        "server/test_server_surface.py::test_metrics_do_not_grow_with_what_callers_make_up",
    ),
    "I8": (
        "server/test_server_run.py::test_a_signal_closes_the_door_and_lets_answers_finish",
        "server/test_server_run.py::test_a_signal_lets_thirty_two_streams_finish",
    ),
    "I9": (
        "server/test_server_run.py::test_a_second_signal_ends_answers_with_an_error",
        "server/test_server_run.py::test_answers_that_outlast_the_grace_end_with_an_error",
        "e2e/test_survival.py::test_two_signals_end_streams_with_an_error_and_the_exit_is_clean",
    ),
    "I11": (
        "server/test_server_run.py::test_a_busy_port_fails_before_anything_is_loaded",
        "e2e/test_start_up.py::test_a_start_that_fails_says_why_in_one_line",
        "e2e/test_start_up.py::test_a_damaged_model_says_so_in_one_line",
    ),
    "I12": (
        "server/test_server_log.py::test_a_closed_pipe_does_not_disturb_the_server",
        "server/test_server_log.py::test_a_blocked_pipe_does_not_disturb_the_server",
    ),
    "I20": (
        "bench/test_bench_client.py::test_misbehaviour_is_a_failure_with_a_name",
        "bench/test_bench_client.py::test_a_deadline_ends_what_is_never_answered",
    ),
}
NOT_APPLICABLE = {
    "D14": "there is one back end for grammars",
    "I10": "engine and server are threads of one process, which the kernel ends whole",
    **dict.fromkeys(
        ("I14", "I15", "I16", "I17", "I18", "I19"), "no deployment with Ray is part of the project"
    ),
}


def in_the_table() -> set[str]:
    numbers = {number for case in cases() for number in case.numbers.split()}
    return numbers | {number for kinds, _ in HEAVY.values() for number in kinds.split()}


def test_every_case_is_in_the_table_or_has_a_test_or_a_reason():
    assert in_the_table() <= NUMBERS
    assert in_the_table() | BY_TEST.keys() | NOT_APPLICABLE.keys() == NUMBERS
    assert not NOT_APPLICABLE.keys() & (in_the_table() | BY_TEST.keys())


@pytest.mark.parametrize("node", sorted({node for nodes in BY_TEST.values() for node in nodes}))
def test_every_test_that_is_named_exists(node):
    file, _, name = node.partition("::")
    functions = ast.walk(ast.parse((TESTS / file).read_text()))
    assert name in {f.name for f in functions if isinstance(f, ast.FunctionDef)}
