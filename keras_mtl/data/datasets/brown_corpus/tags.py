"""The simplified tags of parts of speech, and the rule that makes them."""

import re

OTHER = "other"
_TAGS = """
'' ( ) * , -- . : `` abn ap at be bed bedz ben ber bez cc cd cs do dod dt dti dts ex fw
hv hvd hvz in jj jjr jjt md nn nn$ nns np np$ nps nr od pn pp$ ppl ppo pps ppss ql rb
rbr rp to vb vbd vbg vbn vbz wdt wps wrb
"""
TAGS = (*_TAGS.split(), OTHER)
_KNOWN = frozenset(TAGS)


def simple_tag(tag: str) -> str:
    """One of the 64 simplified tags, from a tag of the corpus.

    The rule, in this order:

    1. `fw-…`, a foreign word, is `fw`, and `--…`, a dash, is `--`.
    2. Others are cut at the first `-`, `+` or `*` after their first character: what
       marks headlines, titles and cited words (`-hl`, `-tl`, `-nc`), the second part of
       a contraction (`+…`), its "not" (`*`).
    3. What then stands for fewer than 1,000 of the 1,161,192 tokens is `other`.

    Args:
        tag: One of the 472 tags of the corpus, in lower case.

    Returns:
        The simplified tag, one of `TAGS`.

    Example:

    >>> [simple_tag(tag) for tag in ("nn-tl", "ppss+bem", "md*", "fw-in", "--", "wql")]
    ['nn', 'ppss', 'md', 'fw', '--', 'other']
    """
    for whole in ("fw", "--"):
        if tag.startswith(whole):
            return whole
    tag = tag[0] + re.split(r"[-+*]", tag[1:], maxsplit=1)[0]
    return tag if tag in _KNOWN else OTHER
