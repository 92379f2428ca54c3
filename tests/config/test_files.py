import pytest
from pydantic import ValidationError

from config.settings import Settings


def test_files_are_in_postgresql_unless_a_bucket_is_set() -> None:
    assert Settings().files.storage == "postgres"
    kept = Settings.model_validate({"files": {"bucket": {"bucket": "files"}}})
    assert kept.files.storage == "postgres"


def test_files_that_go_into_a_bucket_need_one() -> None:
    with pytest.raises(ValidationError, match="bucket: name the one that files go into"):
        Settings.model_validate({"files": {"storage": "bucket"}})
