"""Lines of newsletters that are links to leave them or to see them elsewhere, in the languages they mostly come in."""

from __future__ import annotations

import re
from typing import Final

# Longer lines say more.
_MAX_CHARS: Final = 200
_SURE: Final = (
    r"(?:click here to )?unsubscribe(?: here| now)?(?: from (?:this|our) (?:mailing )?(?:list|newsletter))?",
    r"(?:view|read|open|see)(?: this| the| our)?(?: e-?mail| message| newsletter)? (?:in (?:\w+ )?)?(?:online|browser)",
    r"(?:newsletter )?(?:abbestellen|abmelden)",
    r"(?:newsletter |e-mail )?(?:im browser|online) (?:ansehen|anzeigen|öffnen|lesen)",
    r"(?:se|me) (?:désabonner|désinscrire)|voir (?:cet e-?mail )?dans (?:le|votre) navigateur",
    r"darse de baja|cancelar (?:la )?suscripción|ver (?:este correo )?en (?:el|tu|su) navegador",
)
_BESIDE: Final = (
    r"(?:manage|update|change) (?:your )?(?:e-?mail |subscription )?(?:preferences|settings)",
    r"(?:e-?mail|subscription) (?:preferences|settings)|privacy(?: (?:policy|notice))?",
    r"terms(?: (?:of (?:service|use)|(?:and|&) conditions))?|contact us|help(?: cent(?:er|re))?",
    r"follow us(?: on)?|facebook|instagram|linkedin|twitter|x|youtube|forward to a friend",
    r"datenschutz(?:erklärung)?|impressum|kontakt|folge(?:n sie)? uns(?: auf)?",
    r"(?:politique de )?confidentialité|mentions légales|política de privacidad",
)
_LINK: Final = "|".join((*_SURE, *_BESIDE))
_BETWEEN: Final = r"[\s|·•,./–—-]"
_LINKS = re.compile(rf"{_BETWEEN}*(?:{_LINK})(?:{_BETWEEN}+(?:{_LINK}))*{_BETWEEN}*", re.IGNORECASE)
_LEAVING = re.compile(rf"\b(?:{'|'.join(_SURE)})\b", re.IGNORECASE)


def is_only_links(text: str) -> bool:
    """Whether a text is nothing but such links, one of which leaves the newsletter or shows it elsewhere."""
    line = " ".join(text.split()) if len(text) <= _MAX_CHARS else ""
    return _LINKS.fullmatch(line) is not None and _LEAVING.search(line) is not None
