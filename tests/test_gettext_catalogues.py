"""The gettext reader, on catalogues written here byte by byte and on Django's own."""

import gettext
import importlib
import importlib.util
import struct

import pytest

from dap_jax.data.readers import formats, gettext_catalogues
from dap_jax.utils.errors import UserError


def rows(packages):
  return list(formats.read_rows("gettext", pivot="en", packages=packages))


def catalogue(entries, plural="nplurals=2; plural=(n != 1);"):
  """The bytes of a .mo file (GNU gettext manual, section "The Format of GNU MO Files")."""
  header = f"Content-Type: text/plain; charset=UTF-8\nPlural-Forms: {plural}\n"
  entries = sorted((k.encode(), v.encode()) for k, v in {"": header, **entries}.items())
  texts, tables = b"", ([], [])
  start = 28 + 16 * len(entries)
  for table, side in zip(tables, zip(*entries, strict=True), strict=True):
    for text in side:
      table += [len(text), start + len(texts)]
      texts += text + b"\0"
  numbers = [0x950412DE, 0, len(entries), 28, 28 + 8 * len(entries), 0, 0, *tables[0], *tables[1]]
  return struct.pack(f"<{len(numbers)}I", *numbers) + texts


@pytest.fixture
def package(tmp_path, monkeypatch):
  """A function that adds a catalogue to the package `greetings`, which explodes when imported."""
  monkeypatch.syspath_prepend(tmp_path)
  folder = tmp_path / "greetings"
  folder.mkdir()
  (folder / "__init__.py").write_text("raise RuntimeError('imported')")

  def add(name, entries, domain="django", **kwargs):
    data = entries if isinstance(entries, bytes) else catalogue(entries, **kwargs)
    path = folder / "locale" / name / "LC_MESSAGES" / f"{domain}.mo"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)

  importlib.invalidate_caches()
  return add


def test_gettext_merges_domains_and_names_and_sorts_by_english(package):
  package("de", {"Yes": "Ja", "Hello": "Hallo", "Empty": ""})
  package("de_DE", {"Yes": "Jawohl", "No": "Nein"})  # another name of de, so it comes second
  package("de", {"Maybe": "Vielleicht"}, domain="djangojs")
  package("pt_BR", {"Yes": "Sim"})
  package("en_GB", {"Yes": "Yes"})
  package("zh_TW.Big5", {"Yes": "是"})
  assert rows("greetings") == [
    {"en": "Hello", "de": "Hallo"},
    {"en": "Maybe", "de": "Vielleicht"},
    {"en": "No", "de": "Nein"},
    {"en": "Yes", "de": "Ja", "pt_BR": "Sim"},
  ]


def test_gettext_contexts_and_plurals(package):
  package(
    "sl",
    {
      "menu\x04Open": "Odpri",
      "Open": "Odprto",  # without a context it goes first
      "verb\x04Close": "Zapri",
      "Delete it\0Delete them": "Zbriši jih\0Zbriši ga\0Zbriši ju",
      "Delete one\0Delete %d": "Zbriši %d\0Zbriši %d\0Zbriši %d",
    },
    plural="nplurals=3; plural=(n==1 ? 1 : n==2 ? 2 : 0);",  # n = 1 is form 1
  )
  assert rows(["greetings"]) == [
    {"en": "Close", "sl": "Zapri"},
    {"en": "Delete it", "sl": "Zbriši ga"},
    {"en": "Open", "sl": "Odprto"},
  ]


def test_gettext_mistakes(package):
  with pytest.raises(UserError, match="'greetings' holds no translation catalogues"):
    rows(["greetings"])
  for name in ("no_such_package", "django.contrib", "", "gzip"):
    with pytest.raises(UserError, match=f"'{name}' is not an installed package: pip install"):
      rows([name])
  for name in ("locale/de.po", "./de", "de.mo"):
    with pytest.raises(UserError, match=f"'{name}' is no name of a Python package.*'tsv'"):
      rows([name])
  package("de", b"no catalogue")
  with pytest.raises(UserError, match=r"cannot read the catalogue .*django\.mo"):
    rows(["greetings"])
  with pytest.raises(UserError, match=r"data\.arguments\.packages=3"):
    rows(3)
  with pytest.raises(UserError, match="has English messages"):
    list(formats.read_rows("gettext", pivot="de", packages=["greetings"]))


@pytest.mark.parametrize(
  ("name", "code"),
  # Pairs of folder names that Django, Wagtail and Sphinx use for one language.
  [
    ("he_IL", "he"),
    ("tr_TR", "tr"),
    ("zh_CN", "zh_Hans"),
    ("zh_Hans", "zh_Hans"),
    ("zh", "zh_Hans"),
  ]
  + [("zh_TW", "zh_Hant"), ("zh_Hant", "zh_Hant"), ("nb_NO", "nb"), ("no", "nb"), ("nn", "nn")]
  + [("sr@latin", "sr_Latn"), ("sr_Latn", "sr_Latn"), ("sr_RS", "sr"), ("pt_PT", "pt")]
  + [("pt_BR", "pt_BR"), ("es_419", "es"), ("es_AR", "es"), ("ca@valencia", "ca"), ("yue", "yue")]
  + [("en", None), ("en_GB", None), ("zh_TW.Big5", None), ("__pycache__", None)],
)
def test_one_code_per_language(name, code):
  assert gettext_catalogues.language_of(name) == code


def test_gettext_of_installed_packages():
  # Facts of the packages, not of our reader: a sentence's translation as Django itself gives it.
  if importlib.util.find_spec("django") is None:
    pytest.skip("needs django installed")
  by_message = {row["en"]: row for row in rows(["django"])}
  path = next(
    path
    for path in gettext_catalogues.catalogues("django")
    if path.match("conf/locale/fi/LC_MESSAGES/django.mo")
  )
  with path.open("rb") as file:
    expected = gettext.GNUTranslations(file).gettext("Enter a valid email address.")
  assert (
    by_message["Enter a valid email address."]["fi"] == expected != "Enter a valid email address."
  )
  assert len(by_message["Enter a valid email address."]) > 60
  assert list(by_message) == sorted(by_message)
