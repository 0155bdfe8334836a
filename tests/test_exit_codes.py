"""Exit codes are what clusters act upon: what may pass is never a user's mistake."""

import errno

import pytest

from lepton_jax.errors import UserError, WorkError, exit_code_of_error


def raised(beneath: Exception, hidden: bool) -> UserError:
    try:
        try:
            raise beneath
        except OSError as e:
            if hidden:
                raise UserError("cannot read the data") from None
            raise UserError("cannot read the data") from e
    except UserError as e:
        return e


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize(
    "name", ["EIO", "ESTALE", "EMFILE", "ENOSPC", "ETIMEDOUT", "ENOTCONN", "ECONNRESET", "EAGAIN"]
)
def test_what_may_pass_beneath_a_users_mistake_is_tried_again(name, hidden):
    assert exit_code_of_error(raised(OSError(getattr(errno, name), "x"), hidden)) == 1


@pytest.mark.parametrize("name", ["ENOENT", "EACCES", "ENOTDIR", "EISDIR", "EROFS", "ENAMETOOLONG"])
def test_wrong_path_is_a_users_mistake(name):
    assert exit_code_of_error(raised(OSError(getattr(errno, name), "x"), False)) == 2


def test_plain_errors():
    assert exit_code_of_error(UserError("x")) == 2
    assert exit_code_of_error(WorkError("x")) == 1
    assert exit_code_of_error(KeyError("x")) == 1
