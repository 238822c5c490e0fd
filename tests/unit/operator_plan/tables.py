"""Every row of this folder's tables, by its sentence."""

from tests.unit.operator_plan.given import Row
from tests.unit.operator_plan.test_deadlines import DEADLINES
from tests.unit.operator_plan.test_ends import ENDS
from tests.unit.operator_plan.test_finished import FINISHED
from tests.unit.operator_plan.test_refused import REFUSALS
from tests.unit.operator_plan.test_restarting import RESTARTS
from tests.unit.operator_plan.test_retrying import RETRIES
from tests.unit.operator_plan.test_starting import STARTING
from tests.unit.operator_plan.test_suspending import SUSPENDING

TABLES = (STARTING, RETRIES, ENDS, SUSPENDING, FINISHED, DEADLINES, REFUSALS, RESTARTS)
ROWS: dict[str, Row] = {sentence: row for table in TABLES for sentence, row in table.items()}
