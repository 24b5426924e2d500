import copy
import hashlib
import pickle

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vidssl_cli.contract.clips import Draw


@given(
    st.integers(0, 2**63),
    st.integers(0, 100),
    st.integers(-1, 100),
    st.text(st.characters(codec="utf-8"), max_size=5),
)
def test_a_draw_is_the_philox_generator_of_its_address(seed, epoch, video, purpose):
    address = f"{seed}/{epoch}/{video}/3/{purpose}".encode()
    digest = hashlib.blake2b(address, digest_size=16).digest()
    expected = np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))
    found = Draw(seed, epoch, video)(purpose, 3)
    assert found.random(3).tolist() == expected.random(3).tolist()
    assert found.integers(1000, size=5).tolist() == expected.integers(1000, size=5).tolist()


def test_a_generator_can_be_copied_and_sent():
    generator = Draw(0, 1, 2)("start")
    twins = copy.deepcopy(generator), pickle.loads(pickle.dumps(generator))
    number = generator.random()
    assert [twin.random() for twin in twins] == [number, number]
