import sys
import unicodedata

from agent_pipeline.documents.unicode_14 import is_assigned


def test_what_is_assigned_is_what_python_says() -> None:
    """Python 3.11 has Unicode 14.0. A newer one knows all of that, and more."""
    assigned = {char for char in map(chr, range(sys.maxunicode + 1)) if is_assigned(char)}
    known = {char for char in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(char) != "Cn"}
    assert assigned <= known
    assert len(assigned) == 284_278  # 144,697 characters, private use, surrogates, and controls
    assert known == assigned or unicodedata.unidata_version != "14.0.0"
