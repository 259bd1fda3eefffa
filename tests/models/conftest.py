import pytest
from peers import VARIANTS


@pytest.fixture(params=list(VARIANTS))
def variant(request):
    return request.param
