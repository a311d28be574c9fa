"""Who answers, and what is at no address."""

from tests.integration.writers.service.stage import Instance, Stage


def test_an_instance_says_its_name(stage: Stage) -> None:
    answer = stage.serve(instance="first").get("/")
    assert (answer.status, answer.json["instance"], answer.headers["X-Instance"]) == (200, "first", "first")


def test_what_is_not_there_is_a_problem(service: Instance) -> None:
    answer = service.get("/nowhere")
    assert (answer.status, answer.slug) == (404, "not-found")


def test_the_locking_demo_is_not_served_unless_it_is_enabled(service: Instance) -> None:
    found = {service.ask(method, path).status for method, path in DEMO}
    assert found == {404}


DEMO = [("POST", "/create-tasks"), ("POST", "/grab-task"), ("DELETE", "/reset-tasks")]
