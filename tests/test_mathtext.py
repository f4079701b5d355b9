"""Mathematics in running text, as pages and LaTeX leave it."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from digestbot.mathtext import decode_latex, readable
from tests.shared import shared

FRAGMENTS = [  # found on Daily Papers pages, with what a reader wants to see
    ("h = g circ p", "h = g ∘ p"),
    ("p : R^d rightarrow R", "p : Rᵈ → R"),
    ("in mathcal{O}(d^k) samples", "in O(dᵏ) samples"),
    ("require widetilde Theta(d^{kq}) samples", "require Θ̃(d^kq) samples"),
    ("mathcal{O}(d^2), which", "O(d²), which"),
    ("prior work~nichani2023provable", "prior work nichani2023provable"),
    ("of widetildeTheta(d^4). Our", "of Θ̃(d⁴). Our"),
    ("(i.e., y = f_w(x))", "(i.e., y = f_w(x))"),
    ("I_{D, h_star}^{CoT}(epsilon; calH)", "I_(D, h_star)^CoT(ε; H)"),
    ("standard d/epsilon rates", "standard d/ε rates"),
    ("mathcal O(K^{2/3}) (omitting", "O(K^(2/3)) (omitting"),
    ("to mathcal O(sqrt K) in", "to O(√K) in"),
    ("GSM8K (5.9%rightarrow10.9%)", "GSM8K (5.9%→10.9%)"),
    (r"up to 25\% relative gain", "up to 25% relative gain"),
    ("mathcal{O}(mathcal{C_Phi/m} + mathcal{C_Psi/n})", "O(C_Φ/m + C_Ψ/n)"),
    ("mathcal{O}(mathcal{C_{Phi circ Psi}/n})", "O(C_(Φ ∘ Ψ)/n)"),
    ("when m gg n and C_{Phicirc Psi} > C_Psi", "when m ≫ n and C_(Φ ∘ Ψ) > C_Ψ"),
    ("sensors x_i, i=1,dots,m (branch", "sensors xᵢ, i=1, …, m (branch"),
    ('"P neq NP"', '"P ≠ NP"'),
    ("embeddings for pneq 2 that", "embeddings for p ≠ 2 that"),
    ("coupled&mdash;only one&nbsp;state &amp; &lt;b&gt;", "coupled—only one state &amp; &lt;b&gt;"),
    ("KD (e^2KD) (1)", "KD (e²KD) (1)"),
    (
        r"introduce {\em Convergent Actor-Critic by Humans} (COACH)",
        "introduce Convergent Actor-Critic by Humans (COACH)",
    ),
    ("between R^{C-1} and", "between R^(C-1) and"),
    ("simplex Delta^{C-1} by", "simplex Δ^(C-1) by"),
    (r"present {\sc LegendreTron} as", "present LegendreTron as"),
    (r"Fong, Spivak and Tuy\'eras", "Fong, Spivak and Tuyéras"),
    (r"Gy\"{o}rgy et al.", "György et al."),
    (r"[Aky\"urek et al., 2023]", "[Akyürek et al., 2023]"),
    (r"(Polyak-\L ojasiewicz)", "(Polyak-Łojasiewicz)"),
    ("a {O}(T) regret", "a O(T) regret"),
    ("a {O}(K T^{3/4}) regret", "a O(K T^(3/4)) regret"),
    ("mathcal{O}(KL^* + K) regret", "O(KL* + K) regret"),
    ("bounds are Omega(T) or", "bounds are Ω(T) or"),
    ("such as Paris rightarrow France", "such as Paris → France"),
    ("https://github.com/kleinzcy/Cr-KD-NCD{here}.", "https://github.com/kleinzcy/Cr-KD-NCD."),
    (
        "https://github.com/MARIO-Math-Reasoning/Super_MARIO.",
        "https://github.com/MARIO-Math-Reasoning/Super_MARIO.",
    ),
    ("namely, x + sin^2(x), which", "namely, x + sin²(x), which"),
    ("we propose AD^varepsilon, a", "we propose AD^ε, a"),
    ("we propose R^3: Learning", "we propose R³: Learning"),
    ("- e.g.~iLQR - on", "- e.g. iLQR - on"),
    ("the chi^2 divergence", "the χ² divergence"),
    ("the L^2 difference", "the L² difference"),
    ("variance sigma_{1:T}^2 and", "variance σ_(1:T)² and"),
    ("variation Sigma_{max}^2 for", "variation Σₘₐₓ² for"),
    ("O(sigma_{1:T^2}+Sigma_{1:T^2})", "O(σ_(1:T²)+Σ_(1:T²))"),
    ("using N^{E} expert", "using Nᴱ expert"),
    ("(Poly(S,A,H)/(varepsilon^2 N^{E}))", "(Poly(S,A,H)/(ε² Nᴱ))"),
    ("where varepsilon is the target", "where ε is the target"),
]

LATEX = [
    (r"$\mathcal{O}(d^k)$", "O(dᵏ)"),
    (r"$x_i \in \mathbb{R}^{d}$", "xᵢ ∈ ℝᵈ"),
    (r"$\|x\|_2 \le \frac{1}{\sqrt{n}}$", "‖x‖₂ ≤ 1/(√n)"),
    (r"a $k$-NN with $n=5$", "a k-NN with n=5"),
    (r"\(\alpha\beta\)", "αβ"),
    (r"$\tilde{O}(\sqrt{T})$ regret", "Õ(√T) regret"),
    (r"$\Sigma_{t=1}^T \hat{y}_t$", "Σₜ₌₁ᵀ ŷₜ"),
    (r"G\"odel and $\aleph_0$", "Gödel and ℵ₀"),
    (r"\textbf{bold} and \emph{words} \cite{foo}", "bold and words"),
]

ARXIV = [  # what its metadata hold
    (r"Code: \url{https://github.com/a/b\_c}. It works.", "Code: https://github.com/a/b_c. It works."),
    (r"See \href{https://a.org/b}{our page} and \url{a.org/c}.", "See https://a.org/b and a.org/c."),
    (r"Quick.\footnote{Code: https://a.org/b}", "Quick. (Code: https://a.org/b)"),
    (r"\texttt{https://a.org/b}", "https://a.org/b"),
    ("H$_2$O, CO$_2$ and $^{13}$C in La$_{2-x}$Sr$_x$CuO$_4$", "H₂O, CO₂ and ¹³C in La₂₋ₓSrₓCuO₄"),
    (r"YBa$_2$Cu$_3$O$_{7-\delta}$", "YBa₂Cu₃O_(7-δ)"),
    (r"at 25$^\circ$C or $25^{\circ}$C", "at 25°C or 25°C"),
    (r"$\sim$10\%, $\geq$3, 10$\times$10, p$<$0.05, $>$100", "∼10%, ≥3, 10×10, p<0.05, >100"),
    (r"in $O(n \log n)$ and $2\log n$, \log n", "in O(n log n) and 2 log n, log n"),
    (r"$K\log{(N/K)}$ of $\log{n}$", "K log(N/K) of log n"),
    (r"holds: \begin{equation} E = c^2 \end{equation} Then", "holds: E = c² Then"),
    (r"so \[ x_i = y \] and $$E = c^2$$ hold", "so xᵢ = y and E = c² hold"),
    (r"{\'E}cole of {\o}rsted, {\L}ukasz", "École of ørsted, Łukasz"),
    (r"on \mbox{MNIST} alone", "on MNIST alone"),
    ("a ``few'' words---all of ``one's own''", "a “few” words—all of “one's own”"),
]

ORDINARY = [
    "It costs only $20 per tutor, or $30, and $5M-$10M in all.",
    "An epsilon-greedy agent in beta (alpha, later) needs 8 times the data of lambda calculus.",
    "snake_case, h_star, file_name_2.txt, a~b and user_id stay; so do {braces} and 3 to 4.",
    "In, to, dots, sum and bar are words. Times are hard; le and ge are French.",
    "Grokking in the Text mid-sentence, a hat, a bar, a tilde, a vector: all in all.",
    "Prices in $, $$ or $$$; --help and a -- b; `code` and ``` fences, 5'' long.",
    "Large Language Models (LLMs) are evaluated on GSM8K and MATH-500.",
]


@pytest.mark.parametrize(("found", "shown"), FRAGMENTS + LATEX + ARXIV)
def test_formulas_are_readable(found: str, shown: str) -> None:
    assert readable(found) == shown


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_words_stay(text: str) -> None:
    assert readable(text) == text.replace("a~b", "a b")


@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_real_pages_lose_their_remains_and_nothing_else(name: str) -> None:
    for line in shared(f"drops/page-{name}.txt").read_text(encoding="utf-8").splitlines():
        shown = readable(line)
        assert not any(
            word in shown for word in ("mathcal", "varepsilon", "widetilde", "rightarrow", "sqrt", "\\")
        )
        if not any(sign in line for sign in (*"^_{}\\~$", "---")) and "rightarrow" not in line:
            assert shown.split()[:5] == line.split()[:5]


def test_accents_and_commands_of_bibliographies() -> None:
    assert (
        decode_latex(r"{\'E}tudes \& {\ss}, 50\% of $\mathcal{O}(n)$")
        == "Études & ß, 50% of $\\mathcal{O}(n)$"
    )


@given(st.text(alphabet="ab O^_{}$\\()~'\"αmathcl", max_size=60))
def test_any_text_is_answered_and_stays_readable_twice(text: str) -> None:
    assert isinstance(readable(text), str)
    assert isinstance(decode_latex(text), str)


def test_long_hostile_text_takes_no_time() -> None:
    began = time.process_time()
    for piece in (
        "$",
        "{",
        "\\",
        "mathcal{",
        "a^{",
        "\\'",
        "$a^",
        "\\frac{",
        "sqrt ",
        "\\url{",
        "\\[",
        "$$",
        "``",
        "\\begin{",
    ):
        readable(piece * 5000)
    assert time.process_time() - began < 5
