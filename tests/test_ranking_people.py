"""Followed authors: who is the same person as whom, as names are printed and typed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from digestbot.ranking.people import parse_name, same_person


def same(followed: str, author: str) -> bool:
    found = same_person(parse_name(followed), parse_name(author))
    assert found == same_person(parse_name(author), parse_name(followed)), "either way round"
    return found


@pytest.mark.parametrize(
    ("followed", "author"),
    [
        ("Wei Wang", "W. Wang"),
        ("W. Wang", "Wenjun Wang"),
        ("Wang", "Wenjun Wang"),
        ("Li Wang", "L. Wang"),
        ("Ada Lovelace", "Lovelace, Ada K."),
        ("Ada King Lovelace", "A. Lovelace"),
        ("Yann LeCun", "LeCun Y"),
        ("Prof. Yoshua Bengio", "Yoshua Bengio"),
        ("Prof. Dr. Yoshua Bengio, PhD", "Bengio, Y."),
        ("Martin Luther King, Jr.", "King, M. L."),
        ("King, Jr., Martin", "Martin King"),
        ("García-López", "José María García-López"),
        ("José García-López", "José María García-López"),
        ("Garcia‑Lopez, J. M.", "José María García-López"),
        ("García López, José", "José García-López"),
        ("José García López", "J. García-López"),
        ("van Beethoven", "Ludwig van Beethoven"),
        ("Beethoven", "Ludwig van Beethoven"),
        ("Laurens van der Maaten", "van der Maaten, L."),
        ("Laurens Van Der Maaten", "van der Maaten, L."),
        ("Maaten, Laurens van der", "Laurens van der Maaten"),
        ("Maruan Al-Shedivat", "Maruan al Shedivat"),
        ("Jean-Philippe Vert", "J.-P. Vert"),
        ("Jean-Philippe Vert", "JP Vert"),
        ("Jean Philippe Vert", "J-P Vert"),
        ("Xiaoming Liu", "Xiao-Ming Liu"),
        ("Xiao Ming Liu", "Xiao-Ming Liu"),
        ("Łukasz Kaiser", "Lukasz Kaiser"),
        ("YOSHUA BENGIO", "Yoshua Bengio"),
        ("yoshua bengio", "Yoshua Bengio"),
        ("ludwig van beethoven", "Ludwig van Beethoven"),
        ("Md Rahman", "Md. Rahman"),
        ("Shaun O’Brien", "S. O'Brien"),
    ],
)
def test_the_same_person(followed: str, author: str) -> None:
    assert same(followed, author)


@pytest.mark.parametrize(
    ("followed", "author"),
    [
        ("Wei Wang", "Wenjun Wang"),
        ("Li Wang", "Lei Wang"),
        ("Jean Dupont", "Jean-Pierre Dupont"),
        ("Ada King Lovelace", "Ada Kate Lovelace"),
        ("A. K. Lovelace", "A. B. Lovelace"),
        ("Bengio, Yoshua", "Samy Bengio"),
        ("García-López", "Maria Lopez"),
        ("García López, José", "José López"),
        ("Le Song", "Dawn Song"),
        ("Van Nguyen", "Minh Nguyen"),
        ("di wang", "Wei Wang"),
        ("Md Rahman", "Atta Rahman"),
        ("Rahman, Md", "Atta Rahman"),
        ("DR Cox", "Edward Cox"),
        ("LI WANG", "Lei Wang"),
        ("", ""),
        ("...", "Prof."),
    ],
)
def test_not_the_same_person(followed: str, author: str) -> None:
    assert not same(followed, author)


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_names_compare(one: str, other: str) -> None:
    same(one, other)
    assert same(one, one) == bool(parse_name(one).family)
