"""STS: by hand, against ranks written out, on files made here, on the real tracks."""

import numpy as np
import pytest

from dap_jax.evals import sts
from dap_jax.utils.errors import UserError


def encode_angles(texts):
  """Each text is an angle in degrees: cosines are known."""
  angles = np.deg2rad([float(text) for text in texts])
  return 3 * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def track_of(gold, angles):
  return sts.Track(np.array(gold, float), ["0"] * len(gold), [str(angle) for angle in angles])


def test_a_track_by_hand():
  """Cosines 1, 1/2, 0; gold 5, 3, 4: ranks differ by 0, 1, 1: rho = 1 - 6 * 2 / (3 * 8) = 1/2."""
  scores = sts.sts({"t": track_of([5, 3, 4], [0, 60, 90])}, encode_angles)
  assert scores["spearman/t"] == pytest.approx(50.0)
  # Deviations 1/2, 0, -1/2 and 1, -1, 0: r = (1/2) / sqrt(1/2 * 2) = 1/2.
  assert scores["pearson/t"] == pytest.approx(50.0)
  assert scores["spearman/mean"] == pytest.approx(50.0)


def test_ties_share_their_mean_rank():
  """Pearson's correlation of ranks, ties averaged, written out."""
  rng = np.random.default_rng(0)
  gold, angles = rng.integers(0, 6, 50), rng.integers(0, 20, 50) * 9

  def ranks(values):
    values = np.asarray(values, float)
    return np.array([(values < v).sum() + ((values == v).sum() + 1) / 2 for v in values])

  expected = np.corrcoef(ranks(gold), ranks(-angles))[0, 1]
  scores = sts.sts({"t": track_of(gold, angles)}, encode_angles)
  assert scores["spearman/t"] == pytest.approx(100 * expected)


def test_equal_cosines_rank_nothing():
  with pytest.raises(UserError, match="flat: the cosines of all its pairs are 0.500000"):
    sts.sts({"flat": track_of([1, 2, 3], [60, 60, -60])}, encode_angles)


def test_a_track_called_mean_is_refused():
  with pytest.raises(UserError, match="called 'mean'"):
    sts.sts({"mean": track_of([5, 3, 4], [0, 60, 90])}, encode_angles)


def test_the_mean_is_over_tracks():
  tracks = {"up": track_of([5, 3, 4], [0, 60, 90]), "down": track_of([0, 1, 2], [0, 60, 90])}
  scores = sts.sts(tracks, encode_angles)
  assert scores["spearman/down"] == pytest.approx(-100.0)
  assert scores["spearman/mean"] == pytest.approx(-25.0)


def test_files(tmp_path):
  (tmp_path / "a.en.tsv").write_text("4.5\tone\ttwo\n1\tthree\tfour, “five”\n", encoding="utf-8")
  track = sts.read_tracks(tmp_path)["a.en"]
  assert track.gold.tolist() == [4.5, 1.0]
  assert track.second == ["two", "four, “five”"]
  for content, message in (
    ("1\tonly\n", "line 1: expected score"),
    ("2\ta\tb\nx\ta\tb\n", "line 2: expected score<TAB>text<TAB>text, and 'x' is no number"),
    ("4,5\ta\tb\n", "line 1: expected .* '4,5' is no number, write 4.5"),
    ("1\ta\tb\n2\tthe end\n", "line 2: expected .*, it is '2.tthe end'"),
    ("nan\ta\tb\n", "line 1: the score is nan"),
    ("1\ta\tb\n2\t \tb\n", "line 2: one of the texts is empty"),
    ("1\ta\tb\n\n", "line 2: expected score"),
    ("1\ta\tb\n1\tc\td\n", "two different scores"),
  ):
    (tmp_path / "a.en.tsv").write_text(content)
    with pytest.raises(UserError, match=message):
      sts.read_tracks(tmp_path)
  content = "score\tsentence1\tsentence2\n4.5\ta\tb\n\tc\td\n1\te\tf\n"
  (tmp_path / "a.en.tsv").write_text(content)
  track = sts.read_tracks(tmp_path)["a.en"]  # without the header and the pair without a score
  assert track.gold.tolist() == [4.5, 1.0] and track.first == ["a", "e"]
  with pytest.raises(UserError, match="has no .tsv files"):
    sts.read_tracks(tmp_path / "none")


def test_the_real_tracks(shared):
  tracks = sts.read_tracks(shared / "data" / "sts17")
  assert {name.split(".")[1] for name in tracks} == {
    "ar-ar",
    "ar-en",
    "es-es",
    "es-en",
    "en-en",
    "tr-en",
  }
  assert all(len(track.gold) == 250 for track in tracks.values())
