import numpy as np

from rag.embedding.fake import HashingEmbedder
from rag.protocols import Embedder


def test_the_fake_embedder_is_one():
    embedder = HashingEmbedder(dimension=16)
    assert isinstance(embedder, Embedder)
    vectors = embedder.embed_passages(["rivers carry water", "", "!"])
    assert vectors.shape == (3, 16)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0)
    assert embedder.texts_embedded == 3
    assert embedder.count_tokens(["", "two words.", "a-b"]) == [2, 5, 5]


def test_its_vectors_are_the_same_everywhere_and_close_for_shared_words():
    query = HashingEmbedder().embed_query("how do rivers carry water")
    near, far = HashingEmbedder().embed_passages(["Rivers carry water to the sea.", "Tokens are pieces of words."])
    assert query @ near > query @ far + 0.2
    assert np.array_equal(query, HashingEmbedder().embed_query("how do rivers carry water"))
    other = HashingEmbedder(name="other")
    assert other.identity != HashingEmbedder().identity
    assert not np.allclose(other.embed_query("rivers"), HashingEmbedder().embed_query("rivers"))
