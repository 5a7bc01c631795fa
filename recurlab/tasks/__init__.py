"""Tasks: data with inputs, targets and an exact baseline. A new task is one file and one line in TASKS."""

from recurlab.tasks.digits import digits

TASKS = {"digits": digits}
