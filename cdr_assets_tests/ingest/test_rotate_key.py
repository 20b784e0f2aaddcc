"""A new key changes every pseudonym at once, and nothing of the old copy is left."""

import pytest
from pydantic import SecretStr

from cdr_assets.domain.errors import OperatorError
from cdr_assets.ingest.building import rotate_key
from cdr_assets.sandbox import ListedCalls
from cdr_assets.warehouse import Warehouse
from cdr_assets_tests.conftest import HOUR, Pipeline, record

PSEUDONYMS = """SELECT callerid FROM marts.fct_calls UNION ALL SELECT callerid FROM cdr.calls
                UNION ALL SELECT callerid FROM marts.fct_contacts"""


def test_a_new_key_changes_all_pseudonyms(pipeline: Pipeline, calls: ListedCalls) -> None:
    calls.add(record("a", callerid="905321234567"))
    calls.add(record("b", callerid="0532 123 45 67"))
    assert pipeline.run(HOUR).success
    settings = pipeline.settings
    before = set(pipeline.ask_published(PSEUDONYMS))
    key = settings.secret_key_path.read_text()
    rotate_key(Warehouse(settings.warehouse_path), settings, "test")
    assert settings.secret_key_path.read_text() != key
    assert settings.secret_key_path.stat().st_mode & 0o777 == 0o600
    after = set(pipeline.ask_published(PSEUDONYMS))
    assert len(before) == len(after) == 1
    [(old,)], [(new,)] = before, after
    assert [len(part) for part in new.split("-")] == [4, 16, 2]
    assert old.split("-")[:2] != new.split("-")[:2]
    assert old.split("-")[0] != new.split("-")[0]
    for file in settings.cdr_data_dir.rglob("*.duckdb"):
        assert old.encode() not in file.read_bytes()
    # The next publishing goes on with the new key.
    assert pipeline.run(HOUR).success
    assert set(pipeline.ask_published(PSEUDONYMS)) == after


def test_a_key_that_a_setting_gives_is_changed_there(pipeline: Pipeline) -> None:
    pipeline.settings.cdr_secret_key = SecretStr("k" * 32)
    with pytest.raises(OperatorError, match="CDR_SECRET_KEY sets the key of the pseudonyms: write another one there"):
        rotate_key(Warehouse(pipeline.settings.warehouse_path), pipeline.settings, "test")
