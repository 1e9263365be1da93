"""
The words that an answer is read by, in the languages that the models write.

Phrases stand between commas or line ends; {a|b} is one of several, {a|} may be left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import auto, Flag
import itertools
import re


class Role(Flag):
    """What a phrase does to the words around it; one phrase may do several things."""

    NONE = 0
    NOT = auto()  # what follows in the clause is denied, and what stands shortly before
    NOT_AFTER = auto()  # only what stands before is denied: 赤ではない, kırmızı değil
    RATHER = auto()  # what follows is denied, what stands before is confirmed
    BUT = auto()  # ends a denial
    OR = auto()
    AND = auto()
    IF = auto()  # what stands before holds on a condition
    HEDGE = auto()  # the answer is that there is none
    ANSWER = auto()  # a yes or no further on in the clause is the verdict
    INTRO = auto()  # a yes or no right behind is the verdict
    SUBJECT = auto()  # begins a new sentence: "No the path is blocked"
    ARTICLE = auto()
    BE = auto()
    ASK = auto()  # begins a question


NEUTRAL = """
{to|please} answer, {almost|nearly} certain{ly|}
no doubt, without {a |any |}doubt, nothing but, none other than, nothing other than, no problem
clear {that|to see}, no {lado|meio|centro|canto|chão|fundo|topo|final|início|interior}
kein zweifel, ohne zweifel, zweifellos, sans {aucun |}doute, sin duda, senza dubbio, sem dúvida
没错, 不错, 非常, 无人机, 未来, 不同, 不锈钢, 无线, 是否, 毫无疑问, 無人, 少ない, 危ない
間違いない, 間違いなく, 틀림없
"""

WORDS = {
    Role.NOT: """
no, not, not so, not that, isn't, aren't, wasn't, weren't, doesn't, don't, didn't, hasn't, haven't
hadn't, can't, cannot, couldn't, won't, wouldn't, shouldn't, mustn't, ain't, isnt, arent, doesnt
dont, cant, wont, never, without, neither, nor, none, nothing, nobody, nowhere, hardly, barely
scarcely, almost, nearly, unlikely, lack, lacks, lacking, absence of, fails to, failed to
free {of|from}, except, anything but, all but, far from, used to be, other than, opposite of
different from, false, untrue, wrong, incorrect
if, whether, unless, might, may, could
nicht, kein, keine, keinen, keinem, keiner, keines, nichts, nie, niemals, weder, ohne
nein, kaum, ob, falls, könnte, könnten
pas, ne, n', ni, aucun, aucune, jamais, sans, non, rien, pourrait
ningún, ninguna, ninguno, nunca, jamás, sin, tampoco, podría
né, nessun, nessuno, nessuna, mai, senza, potrebbe
não, nenhum, nenhuma, sem, nem, poderia
niet, geen, nooit, zonder, noch, zou kunnen
inte, ingen, inga, inget, aldrig, utan, ej, varken
nie, nigdy, bez, ani, żaden, żadna, żadne
не, нет, ни, без, никогда, никакой
不, 不是, 不可能, 没, 没有, 沒, 沒有, 並非, 并非, 未, 无, 無, 非
""",
    Role.NOT_AFTER: """
değil, değildir, yok, yoktur
ない, なく, なかっ, ません, 無い, なし, 아니, 아닙, 아닌, 않, 없, 못
""",
    Role.RATHER: """
rather than, instead of, as opposed to, more than, anstatt, anstelle von, statt
plutôt que, au lieu de, en lugar de, en vez de, piuttosto che, invece di, em vez de, in plaats van
i stället för, zamiast, вместо, yerine, 而不是, 而非
""",
    Role.BUT: """
but, so, therefore, thus, hence, sondern, aber, mais, sino, pero, bensì, ma, mas, maar
lecz, ale, но, ama, fakat, 而是, 但, 但是, 不过
""",
    Role.OR: """
or, nor, vs, versus, to, oder, bis, nach, ou, o, oppure, of, eller, lub, albo, czy, или, либо
veya, ya da, veyahut, /, |, 或, 或者, 还是, または, もしくは, か, 또는, 혹은, 이나, 거나
""",
    Role.AND: """
and, as well as, plus, &, +, und, et, y, e, en, och, i, oraz, и, ve, ile
和, 与, 及, 以及, と, や, 및, 와, 과
""",
    Role.IF: 'if, when, unless, only if, wenn, falls, si, se, als, om, jeśli, если',
    Role.HEDGE: """
unclear, uncertain, undetermined, indeterminate, inconclusive, ambiguous, undecided, maybe, perhaps
possibly, not {entirely |completely |quite |really |fully |totally |very |so |100 |}{sure|certain}
{not {entirely |completely |quite |really |fully |totally |very |so |}|isn't |}clear whether
not {entirely |completely |quite |really |fully |totally |very |so |immediately |}clear
unsure, depends, no idea, no clue, not possible to, isn't possible to, impossible to
{no way|difficult|hard|tough} {to|of} {tell|say|know|determine|judge|telling|knowing|answer|see}
{cannot|can't|can not|couldn't|could not|cant|am unable to|is unable to|unable to} \
{really |definitively |definitely |accurately |exactly |reliably |confidently |clearly |}\
{tell|say|know|determine|judge|answer|decide|confirm|assess|verify|ascertain|be sure|be certain}
{cannot|can't|can not} be {determined|known|said|answered|confirmed|judged|told|verified}
{don't|do not|dont|didn't} {really |}{know|have enough information|have enough context}
insufficient information, {not|isn't} enough {information|context|detail|details|evidence}
not only, not just, not applicable, yes and no, anyone's guess, who knows
unklar, unsicher, ungewiss, nicht {ganz |}{sicher|klar|eindeutig|erkennbar|möglich zu}, vielleicht
{ich |}weiß {es |}nicht, weiss {es |}nicht, keine ahnung, kommt darauf an, schwer zu sagen
{nicht|schlecht|schwer} {zu |}{sagen|erkennen|beurteilen|bestimmen|feststellen}, unmöglich
jein, nicht genug informationen, möglicherweise, eventuell
pas {très |}{clair|sûr|sûre|certain}, incertain, peut être, sais pas, ça dépend, cela dépend
difficile {à|de} {dire|déterminer}, impossible {à|de} {dire|déterminer|savoir}
{ne peux|ne peut|peux|peut} pas {dire|déterminer|savoir|être déterminé}, aucune idée
no {está|es} claro, incierto, {quizás|quizá|tal vez|acaso}, no {lo |}sé, no {estoy|es} segur{o|a}
depende, difícil {de |}{decir|saber|dizer|determinar}, imposible, no {se |}puede determinar
no {se |}{puedo|puede} {saber|decir|determinar}, ni idea, no queda claro
non {è |}chiaro, incerto, forse, non {lo |}so, non {sono |}sicuro, dipende, difficile da dire
impossibile, non {si |}può {determinare|dire}, non saprei
não {está |é |}clar{o|a}, incerto, talvez, não sei, não tenho certeza, impossível
não {é possível|dá para|posso|se pode} {determinar|saber|dizer}
onduidelijk, onzeker, misschien, weet {het |ik |}niet, niet {zeker|duidelijk}, hangt ervan af
oklart, osäker, osäkert, kanske, vet inte, inte säker, beror på, svårt att säga
niejasne, niepewne, {być |}może, nie wiem, nie {jestem |}pewien, trudno powiedzieć, to zależy
неясно, непонятно, неизвестно, возможно, может быть, не знаю, не уверен, не уверена, зависит
трудно сказать, невозможно, нельзя {сказать|определить}, наверное
belirsiz, belli değil, emin değilim, bilmiyorum, belki, söylemek zor
不清楚, 不确定, 不確定, 不知道, 不明确, 不明显, 不一定, 无法, 無法, 看不清, 看不出
难以, 也许, 或许, 可能, 说不准, 取决于, 不好说, 不仅, 不能{确定|判断|确认}
不明, わかりません, 分かりません, わからない, 分からない, 判断できません, 判断できない, かもしれ
たぶん, 難しい, はっきりしません, はっきりしない
모르, 알 수 없, 불분명, 불확실, 확실하지, 명확하지, 아마, 판단하기 어렵, 판단할 수 없, 말하기 어렵
""",
    Role.ANSWER: """
answer, response, verdict, conclusion, antwort, réponse, respuesta, risposta, resposta, antwoord
svar, svaret, odpowiedź, ответ, cevap, 答案, 答案是, 答案为, 回答, 回答是, 答えは, 正解は, 答え
回答は, 답은, 정답은, 대답은
""",
    Role.INTRO: """
say, well, oh, ah, hmm, um, ok, okay, then, definitely, probably, likely, clearly, certainly
most likely, absolutely, obviously, simply, think, believe, guess, sorry, finally, overall, short
wahrscheinlich, vermutlich, eindeutig, also, klar, na, naja, ach, donc, alors, probablement
bien, eh, pues, probablemente, entonces, beh, quindi, probabilmente, então, provavelmente, bem
waarschijnlijk, dus, nou, troligen, alltså, prawdopodobnie, więc, вероятно, скорее всего, итак
muhtemelen, sage, dirais, diría, direi, diria
""",
    Role.SUBJECT: """
the, it, it's, its, there, there's, this, that, that's, these, those, i, i'm, i'd, we, you, they
she, because, since, not
der, die, das, ich, hier, dort, auf, man, wir, er, sie, het, ik, dit, dat, det, jag
""",
    Role.ARTICLE: """
a, an, the, on, in, at, ein, eine, einen, der, die, das, den, im, auf, un, une, le, la, les, l', à
una, el, los, las, lo, il, i, um, uma, o, os, as, het, de, een, en, ett
""",
    Role.BE: 'is, was, ist, est, es, è, é, está, är, jest, would be, seems, appears',
    Role.ASK: """
is, are, does, do, did, was, were, what, which, how, who, why, where, can, could, has, have, will
should, ist, sind, gibt es, est ce, que, qué, cosa, wat, vad, какой, какая, какое
""",
    Role.NONE: NEUTRAL,
}

# In what a yes or no must be followed by, the lists differ: anything, the start of a sentence or
# an end of the clause, or such an end only. "No box", "Non vedo", "The correct answer", 有红色.
YES_ANY = """
yes, yeah, yep, yup, yea, yess, jawohl, jep, oui, ouais, sí, sì, sim, evet, 是的, 对的, 對的, 是啊
"""
YES_SUBJECT = 'ja, jo, doch, да, tak, aye'
YES_END = """
affirmative, correct, true, indeed, exactly, positive, si, that{'s| is} {correct|true|right}
richtig, korrekt, stimmt, das stimmt, genau, wahr, exact, vrai, c'est {exact|vrai|correct}
correcto, cierto, verdadero, exacto, así es, corretto, vero, esatto, correto, verdade, verdadeiro
juist, klopt, dat klopt, korrekt, stämmer, det stämmer, zgadza się, prawda, верно, правильно
doğru, öyle
是, 对, 對, 有, 有的, 可以, 能, 能够, 没错, 正确, 正確, 存在, 嗯
はい, ハイ, ええ, うん, そうです, そうですね, はいそうです, 正しい, 正しいです, その通りです
네, 예, 네네, 그렇습니다, 맞습니다, 맞아요, 그래요, 있습니다, 있어요
"""
NO_ANY = """
nope, nah, nay, nein, nee, neen, nej, hayır, hayir, {definitely|certainly|absolutely|of course|\
probably|unfortunately} not, nö
"""
NO_SUBJECT = 'no'
NO_END = """
negative, false, incorrect, untrue, not really, not at all, that{'s| is} {incorrect|false|wrong}
that{'s| is} not {correct|true|right}, that isn't {correct|true|right}, not correct, not true
falsch, unwahr, stimmt nicht, das stimmt nicht, das ist falsch, nicht wirklich
non, faux, pas du tout, incorrecto, falso, para nada, falsa, errato, sbagliato, não, errado, niet
onjuist, klopt niet, fel, falskt, nie, nieprawda, fałsz, нет, неверно, неправильно, yanlış, yok
不, 不是, 不是的, 没有, 沒有, 没, 否, 不对, 不對, 不行, 不可以, 不能, 不正确, 错误, 錯誤
错, 不存在
いいえ, イイエ, いえ, いや, 違います, ちがいます, ありません, いません, そうではありません
아니요, 아니오, 아뇨, 아니, 아닙니다, 없습니다, 없어요
"""


def phrases(text: str) -> Iterator[str]:
    """Yield the phrases of a list above, one by one."""
    depth, phrase = 0, ''
    for char in text.strip() + '\n':
        depth += (char == '{') - (char == '}')
        if char in ',\n' and depth == 0:
            yield from _expand(phrase.strip())
            phrase = ''
        else:
            phrase += char


def _expand(phrase: str) -> Iterator[str]:
    """Yield the phrase with each innermost {a|b} chosen in turn."""
    parts = re.split(r'\{([^{}]*)\}', phrase)
    if len(parts) == 1:
        yield phrase
        return
    options = [part.split('|') if odd else [part] for part, odd in
               zip(parts, itertools.cycle((False, True)))]
    for chosen in itertools.product(*options):
        yield from _expand(''.join(chosen))
