"""Templates on disk: the packaged ones, overridden file by file from a folder. The only module that speaks Jinja2."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import jinja2

from digestbot.errors import TemplateError, line_of

_HERE = Path(__file__).resolve().parent
PACKAGED = next(
    (folder for folder in (_HERE / "templates", _HERE.parent / "templates") if folder.is_dir()),
    _HERE / "templates",
)


class Templates:
    """Renders templates by name (`email/card.html`). Values are escaped in `.html`, taken as they are in `.txt`."""

    def __init__(
        self, override: Path | None = None, *, filters: Mapping[str, Callable[..., object]] | None = None
    ) -> None:
        """`override`: a folder whose files come before the packaged ones; raises TemplateError if it is none."""
        if override is not None and not override.is_dir():
            raise TemplateError(
                f"{override}: is no folder; DIGESTBOT_TEMPLATES names a folder with templates"
            )
        for within in (override, *override.rglob("*")) if override is not None else ():
            if within.is_dir() and not os.access(within, os.R_OK | os.X_OK):
                raise TemplateError(f"{within}: cannot be read; mend the folder's rights")
        folders = [folder for folder in (override, PACKAGED) if folder is not None]
        self._environment = jinja2.Environment(
            loader=jinja2.ChoiceLoader([_Folder(folder) for folder in folders]),
            autoescape=jinja2.select_autoescape(("html",), default=False),
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        self._environment.filters.update(filters or {})

    def render(self, name: str, values: Mapping[str, object]) -> str:
        """Raises TemplateError that names file and line, whatever goes wrong in the template."""
        with _in_our_words(name):
            return self._environment.get_template(name).render(values)

    def compile(self, folder: str) -> None:
        """Raises TemplateError for what cannot be one among the `.html` of a folder; what they show is not looked at."""
        for name in self._environment.list_templates(extensions=("html",)):
            if name.startswith(folder):
                with _in_our_words(name):
                    self._environment.get_template(name)

    def source(self, name: str) -> tuple[str, str]:
        """Path and text of a file that is no template (a style sheet), after overrides. Raises TemplateError."""
        loader = self._environment.loader
        assert loader is not None
        try:
            text, path, _ = loader.get_source(self._environment, name)
            return path or name, text
        except jinja2.TemplateNotFound as error:
            raise TemplateError(f"{name}: there is no such file among the templates") from error


def strangers(folder: Path) -> list[str]:
    """The files of an operator's folder that override nothing."""
    own = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith("."))
    return [str(path) for path in own if not (PACKAGED / path.relative_to(folder)).is_file()]


class _Folder(jinja2.FileSystemLoader):
    """Says which file it is that cannot be read."""

    def get_source(
        self, environment: jinja2.Environment, template: str
    ) -> tuple[str, str, Callable[[], bool]]:
        try:
            return super().get_source(environment, template)
        except jinja2.TemplateNotFound:  # an OSError, too
            raise
        except UnicodeDecodeError as error:
            raise TemplateError(
                f"{self._path(template)}, line {line_of(error)}: is not UTF-8; save it as that"
            ) from error
        except OSError as error:
            raise TemplateError(f"{self._path(template)}: cannot be read: {error.strerror}") from error

    def _path(self, template: str) -> Path:
        return Path(self.searchpath[0]) / template


@contextmanager
def _in_our_words(name: str) -> Iterator[None]:
    """What goes wrong with the template of this name as a TemplateError."""
    try:
        yield
    except TemplateError:
        raise
    except jinja2.TemplateNotFound as error:
        raise TemplateError(f"{error.name}: there is no such template (needed by {name})") from error
    except jinja2.TemplateSyntaxError as error:
        where = error.filename or error.name or name
        raise TemplateError(f"{where}, line {error.lineno}: {error.message}") from error
    except Exception as error:  # whatever an operator's expression raises
        raise TemplateError(f"{_place(error, name)}: {error or type(error).__name__}") from error


def _place(error: Exception, name: str) -> str:
    """File and line of the innermost template frame; Jinja2 rewrites tracebacks to the template's own lines."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.endswith(name)]
    others = [frame for frame in traceback.extract_tb(error.__traceback__) if "templates" in frame.filename]
    frame = next(iter([*reversed(frames), *reversed(others)]), None)
    return f"{frame.filename}, line {frame.lineno}" if frame else name
