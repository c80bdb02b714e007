from functions.models.execution import Execution
from functions.models.function import Function
from functions.models.journal import JournalCursor
from functions.models.rollup import Rollup
from functions.models.runner import Runner
from functions.models.version import Code, FunctionVersion

__all__ = ["Code", "Execution", "Function", "FunctionVersion", "JournalCursor", "Rollup", "Runner"]
