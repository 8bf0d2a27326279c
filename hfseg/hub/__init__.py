"""Pushes runs, datasets, the metric and the demo to the Hub, each in one commit."""

from hfseg.hub.commit import prepare_repository
from hfseg.hub.dataset import push_dataset
from hfseg.hub.metric import push_metric
from hfseg.hub.model import push_run
from hfseg.hub.space import push_space

__all__ = ["prepare_repository", "push_dataset", "push_metric", "push_run", "push_space"]
