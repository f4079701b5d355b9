"""What mail systems say when they do not say it in codes."""

from __future__ import annotations

import re

# The address is dead.
DEAD_WORDS = re.compile(
    r"(user|recipient|mailbox|account|address|addressee|destinatario|empf.{1,2}nger|usu.{1,2}rio)\W+(is |was )?"
    r"(unknown|unbekannt|desconocido|inv.{1,2}lido)"
    r"|(unknown|invalid|illegal|no such|non-?existent|no valid) (local )?(user|recipient|mailbox|address|account)"
    r"|no (mailbox|user) (here )?by that name|user not (found|known)|not a valid user|no such address"
    r"|not (recognized|listed in)|does(n't| not) (exist|have an? \S+ account)|disabled or discontinued"
    r"|mailbox (is )?unavailable|bad destination|no longer valid|n'existe pas|not an? \S+ e-?mail user",
    re.IGNORECASE,
)

# The address may live.
PASSING_WORDS = re.compile(
    r"quota|(mail(box|folder|box space)?|inbox|folder)\W+(is |was )?(full|not enough)|mail ?box space|too much mail|lleno"
    r"|spam|block(ed|list)|\bblock for\b|black ?list|unsolicited|\bUBE\b|polic(y|ies)|not accepting mail|unable to relay"
    r"|tim(e|ed)[ -]?out|delay(ed)?\b|not yet (been )?delivered|postponed|temporar|try again|retr(y|ied)|busy"
    r"|too many hops|loop(ing)?\b|too (big|large)|(incoming|inbound|maximum) message size|attempts|aborted after"
    r"|not been collected|not reachable within|in the queue too long|command died|resent-from|while being processed",
    re.IGNORECASE,
)

# From here on a bounce repeats our own mail.
START_OF_COPY = re.compile(
    r"^[ \t]*(-{2,} ?(this is a copy|below (this|the)|(the )?header of|original message|returned m|start of returned"
    r"|message header|message text|unsent|mensaje original|included|return-path)|\|-+ message text"
    r"|return-path: |received: (from|by) |original message (as received|follows)|your message reads"
    r"|message headers follow|included is a copy|original message headers)",
    re.IGNORECASE | re.MULTILINE,
)
