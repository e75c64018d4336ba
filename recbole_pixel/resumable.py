"""Training that keeps states of itself, goes on from one as if it had never stopped, and stops where it is asked to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from recbole_pixel.checkpoint import rows_digest
from recbole_pixel.distributed import Agreement, gather_objects, is_first, world_size
from recbole_pixel.interrupts import InterruptedRunError, Interrupts
from recbole_pixel.kept_states import KeptStates
from recbole_pixel.run_state import RunState
from recbole_pixel.training_digest import changed_data, training_digest


class Start(NamedTuple):
    """Where in an epoch training begins.

    Attributes:
        n_batches: how many are done.
        loss: of the epoch, where all are done, and its validation is next.
        noted: what this rank noted there.
    """

    n_batches: int = 0
    loss: Any = None
    noted: Mapping[str, Any] = {}


class Resumable(RunState):
    """Put before RecBole's ``Trainer``, or a trainer that makes epochs and validations in its way.

    A state is kept behind the training of an epoch, in front of its validation; by trainers that know how, also within
    an epoch. RecBole's own loop over epochs goes on from it.
    """

    def __init__(self, config: Any, model: Any) -> None:
        super().__init__(config, model)
        self._trained: dict[str, Any] | None = None  # what to keep if the validation is interrupted
        self._interrupts = Interrupts(speaks=is_first())
        self._agreement = Agreement()

    @property
    def is_finished(self) -> bool:
        """Whether the run was done when its state was kept, and is to train no further epochs."""
        end = None if self._point is None else self._point["end"]
        return end is not None and not (end == "epochs" and self.epochs > self.start_epoch)

    def fit(
        self,
        train_data: Any,
        valid_data: Any = None,
        verbose: bool = True,
        saved: bool = True,
        show_progress: bool = False,
        callback_fn: Callable[[int, float], None] | None = None,
    ) -> tuple[float, Any]:
        """RecBole's ``Trainer.fit``, from where the run stopped; of a run that is finished, its result.

        Raises:
            InterruptedRunError: Ctrl+C or SIGTERM asked it to stop, and its state was kept.
            BlockingIOError: another process is at work on the run.
            ValueError: the run trained on other data.
        """
        dataset = train_data._dataset
        if self.rows is None:  # of models of RecBole, of whose tables nothing is known
            self.rows = rows_digest(dataset, dataset.uid_field, dataset.iid_field)
        self._data = training_digest(train_data)
        self._check_data()
        n_kept = (self.config["keep_checkpoints"] or 0) if saved else 0
        self._states = KeptStates(self.run_folder, n_kept) if n_kept else None
        try:
            if self._states is not None and self.goes_on and is_first():
                self._states.lock()
            if self.is_finished:
                self.eval_collector.data_collect(train_data)  # type: ignore[attr-defined]
                return self.best_valid_score, self.best_valid_result
            return self._fit(train_data, valid_data, verbose, saved, show_progress, callback_fn)
        finally:
            if self._states is not None:
                self._states.unlock()
            self._states = self._trained = None

    def _check_data(self) -> None:
        """Refuses to go on with other data than the run began with, whichever rank finds it."""
        found = [] if self._point is None else changed_data(self._point, self._data, self.other_data)
        changed = list(dict.fromkeys(name for names in gather_objects(found) for name in names))
        if changed:
            raise ValueError(
                f"the run in {self.run_folder} trained on other {' and '.join(changed)} than {self.config['dataset']} "
                f"has here: it goes on with the same only, interactions filtered and split alike; put back what it "
                f"began with, or start a new run without --resume"
            )

    def _fit(self, train_data: Any, *args: Any) -> tuple[float, Any]:
        if self._states is None:
            return super().fit(train_data, *args)  # type: ignore[misc]
        with self._interrupts:
            found = super().fit(train_data, *args)  # type: ignore[misc]
            self._trained = None
            if self.train_loss_dict:
                end = "patience" if self.cur_step > self.stopping_step else "epochs"  # type: ignore[attr-defined]
                self.keep(self._progress(max(self.train_loss_dict) + 1, 0, self._note(train_data), end=end))
            self._stop_if(max(gather_objects(self._asked)))
        return found

    def _train_epoch(
        self, train_data: Any, epoch_idx: int, loss_func: Any = None, show_progress: bool = False
    ) -> float | tuple[float, ...]:
        """One pass over the training rows, or the rest of one that was interrupted; returns the whole epoch's loss."""
        point, self._trained = self._point, None
        is_resumed = point is not None and point["epoch"] == epoch_idx
        start = Start()
        if point is not None and is_resumed:
            start = Start(point["n_batches"], point["epoch_loss"], self._noted_here(point))
            self._draw_on(start.noted, train_data)
        self._stop_before(train_data, epoch_idx, is_resumed)
        if start.loss is not None:
            loss = tuple(start.loss) if isinstance(start.loss, list) else start.loss
        else:
            loss = self._train_rest(train_data, epoch_idx, start, loss_func, show_progress)
        self._behind_training(train_data, epoch_idx, loss, is_new=start.loss is None)
        return loss

    def _train_rest(self, train_data: Any, epoch: int, start: Start, loss_func: Any, show_progress: bool) -> Any:
        """Trains what an epoch has from ``start`` on; here, from its first batch, as RecBole's trainers do."""
        loss_func = loss_func or self.model.calculate_loss

        def loss_unless_asked_to_stop(interaction: Any) -> Any:
            self._stop_if(self._asked)
            return loss_func(interaction)

        loss = super()._train_epoch(train_data, epoch, loss_unless_asked_to_stop, show_progress)  # type: ignore[misc]
        self.n_updates += len(train_data)
        return loss

    @property
    def _asked(self) -> int:
        """The number of the signal that asked this rank to stop; 0 for none."""
        return (self._interrupts.number or 0) if self._states is not None else 0

    def _stop_if(self, number: int) -> None:
        if number:
            told = f"its newest state is {self._newest}" if self._newest else "no state of it was kept yet"
            raise InterruptedRunError(number, self.run_folder if self._newest else None, told)

    def _stop_before(self, train_data: Any, epoch: int, is_resumed: bool) -> None:
        """Stops in front of an epoch, if the run was asked to since the one before was trained."""
        if self._states is None:
            return
        number = max(gather_objects(self._asked))
        if number and not is_resumed:
            self.keep(self._progress(epoch, 0, self._note(train_data)))
        self._stop_if(number)

    def _behind_update(self, epoch: int, n_batches: int, note: Callable[[], Mapping[str, Any]]) -> None:
        """Keeps a state within an epoch where it is time; stops where the run was asked to."""
        if self._states is None:
            return
        every, number = self.config["checkpoint_steps"], self._agreement(self._asked)
        if number or (every and self.n_updates % every == 0):
            self.keep(self._progress(epoch, n_batches, note()))
        self._stop_if(number)

    def _behind_training(self, train_data: Any, epoch: int, loss: Any, is_new: bool) -> None:
        """Keeps a state behind an epoch's training where it is time; stops where the run was asked to."""
        if self._states is None:
            return
        number = max(self._agreement.settled(), *gather_objects(self._asked))
        self._trained = self._progress(epoch, len(train_data), self._note(train_data), loss)
        every = self.config["checkpoint_epochs"]
        if is_new and (number or (every and (epoch + 1) % every == 0)):
            self.keep(self._trained)
        self._stop_if(number)

    def _stop_validating(self) -> None:
        """Stops within a validation, where the weights are still those that the epoch's training ended with.

        Several ranks end it first: they would not stop at the same batch.
        """
        if self._trained is not None and self._asked and world_size() == 1:
            self.keep(self._trained)
            self._stop_if(self._asked)

    def _full_sort_batch_eval(self, batched_data: Any) -> Any:
        self._stop_validating()
        return super()._full_sort_batch_eval(batched_data)  # type: ignore[misc]

    def _neg_sample_batch_eval(self, batched_data: Any) -> Any:
        self._stop_validating()
        return super()._neg_sample_batch_eval(batched_data)  # type: ignore[misc]
