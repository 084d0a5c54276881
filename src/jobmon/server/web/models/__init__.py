"""Tables, one module for each thing; importing this package registers them all."""

from jobmon.server.web.models.access_token import AccessToken
from jobmon.server.web.models.array import Array
from jobmon.server.web.models.array_progress import ArrayProgress
from jobmon.server.web.models.base import Base
from jobmon.server.web.models.batch import Batch
from jobmon.server.web.models.cluster import BadNode, Cluster, ClusterType, Queue
from jobmon.server.web.models.dag import Dag, Edge
from jobmon.server.web.models.history import TaskHistory, WorkflowHistory
from jobmon.server.web.models.id_block import IdBlock
from jobmon.server.web.models.node import Node, NodeArg
from jobmon.server.web.models.prune_candidate import PruneCandidate
from jobmon.server.web.models.service import Alarm, Lease, Subscription
from jobmon.server.web.models.status import (
    TaskInstanceStatusRow,
    TaskStatusRow,
    WorkflowRunStatusRow,
    WorkflowStatusRow,
)
from jobmon.server.web.models.task import Task, TaskArg, TaskAttribute, TaskAttributeType
from jobmon.server.web.models.task_instance import TaskInstance, TaskInstanceErrorLog
from jobmon.server.web.models.task_resources import TaskResources, TaskResourcesTypeRow
from jobmon.server.web.models.task_template import (
    Arg,
    ArgTypeRow,
    TaskTemplate,
    TaskTemplateVersion,
    TemplateArgMap,
)
from jobmon.server.web.models.tool import Tool, ToolVersion
from jobmon.server.web.models.workflow import Workflow, WorkflowAttribute, WorkflowAttributeType
from jobmon.server.web.models.workflow_run import WorkflowRun

__all__ = [
    "AccessToken",
    "Alarm",
    "Arg",
    "ArgTypeRow",
    "Array",
    "ArrayProgress",
    "BadNode",
    "Base",
    "Batch",
    "Cluster",
    "ClusterType",
    "Dag",
    "Edge",
    "IdBlock",
    "Lease",
    "Node",
    "NodeArg",
    "PruneCandidate",
    "Queue",
    "Subscription",
    "Task",
    "TaskArg",
    "TaskAttribute",
    "TaskAttributeType",
    "TaskHistory",
    "TaskInstance",
    "TaskInstanceErrorLog",
    "TaskInstanceStatusRow",
    "TaskResources",
    "TaskResourcesTypeRow",
    "TaskStatusRow",
    "TaskTemplate",
    "TaskTemplateVersion",
    "TemplateArgMap",
    "Tool",
    "ToolVersion",
    "Workflow",
    "WorkflowAttribute",
    "WorkflowAttributeType",
    "WorkflowHistory",
    "WorkflowRun",
    "WorkflowRunStatusRow",
    "WorkflowStatusRow",
]
