//! A validated model: its input, output layout and class names.

use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::config::ModelPlan;
use crate::error::{Code, Error};
use crate::types::{Layout, Precision};
use crate::vision::decode::{self, Tensor};
use crate::vision::preprocess::Preprocessor;

use super::input::Input;
use super::labels::Names;
use super::runtime::{Kind, Runtime};
use super::session::{Element, Session, Signature};
use super::worker::Worker;
use super::{labels, onnx, rten, stray};

/// A loaded model. Creates workers; can be shared between threads.
pub struct Model {
    facts: Arc<Facts>,
    opened: Opened,
    /// The session used for the warm-up, for the first worker.
    spare: Mutex<Option<Box<dyn Session>>>,
}

/// What workers need to know about the model.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) plan: ModelPlan,
    pub(super) layout: Layout,
    /// Width and height of the input.
    pub(super) input: (usize, usize),
    /// Fixed batch size, if the model has one.
    pub(super) fixed_batch: Option<usize>,
    pub(super) labels: Vec<Arc<str>>,
    pub(super) named: bool,
    /// What looks wrong with the labels.
    pub(super) doubt: Option<String>,
    /// Other layouts that its outputs fit.
    pub(super) others: Vec<Layout>,
}

/// What is needed to open further sessions.
enum Opened {
    Onnx { environment: ort::environment::Environment, element: Element, outputs: Vec<usize> },
    Rten { model: Arc<::rten::Model>, outputs: Vec<usize> },
}

impl Model {
    /// Loads and validates a model, runs it once, and determines its output layout.
    ///
    /// # Errors
    /// `Model`: the file is missing, cannot be loaded or does not run. `ModelLayout`: its inputs cannot be fed or its
    /// outputs cannot be read. `Labels`: the names do not fit its classes.
    pub fn load(plan: &ModelPlan, runtime: &Runtime) -> Result<Self, Error> {
        let path = plan.model.as_path();
        if !path.is_file() {
            let error = Error::new(Code::Model, format!("model file {} is missing", path.display()));
            return Err(error.hint("check `model_path`; paths are relative to the config file"));
        }
        if let Some((what, hint)) = stray::is(path) {
            return Err(Error::new(Code::Model, format!("{} is no model: {what}", path.display())).hint(hint));
        }
        let broken = |e: String| broken(path, &e);
        match &runtime.0 {
            Kind::Onnx(environment) => {
                let session = onnx::open(environment, path).map_err(broken)?;
                let signature = onnx::signature(&session);
                let outputs = chosen_outputs(plan, &signature)?;
                let input = Input::of(plan, &signature)?;
                let element = input.element.clone();
                let session = Box::new(onnx::Onnx::new(session, element.clone(), outputs.clone()));
                let opened = Opened::Onnx { environment: environment.clone(), element, outputs };
                Self::check(plan, &signature, &input, session, opened)
            }
            Kind::Rten => {
                if let Some(operator) = rten::wrong_operator(path) {
                    let message =
                        format!("model {} has the operator {operator}, which rten gets wrong", path.display());
                    return Err(Error::new(Code::Model, message).hint(
                        "run it by ONNX Runtime (install libonnxruntime, or name it in ORT_DYLIB_PATH), or export it \
                         without dynamic quantisation",
                    ));
                }
                let model = rten::open(path).map_err(broken)?;
                let signature = rten::signature(&model);
                let outputs = chosen_outputs(plan, &signature)?;
                let input = Input::of(plan, &signature)?;
                let opened = Opened::Rten { model, outputs };
                let session = opened.session(path).map_err(broken)?;
                Self::check(plan, &signature, &input, session, opened)
            }
        }
    }

    /// Width and height of the input that a model file declares, without running it.
    ///
    /// # Errors
    /// Those of [`load`](Self::load) that do not need a run.
    #[doc(hidden)]
    pub fn described(plan: &ModelPlan, runtime: &Runtime) -> Result<(usize, usize), Error> {
        let path = plan.model.as_path();
        let signature = match &runtime.0 {
            Kind::Onnx(environment) => onnx::open(environment, path).map(|session| onnx::signature(&session)),
            Kind::Rten => rten::open(path).map(|model| rten::signature(&model)),
        };
        let signature = signature.map_err(|error| broken(path, &error))?;
        chosen_outputs(plan, &signature)?;
        Ok(Input::of(plan, &signature)?.size)
    }

    /// Runs the model once, reads the real output shapes, and chooses the layout.
    fn check(
        plan: &ModelPlan,
        signature: &Signature,
        input: &Input,
        mut session: Box<dyn Session>,
        opened: Opened,
    ) -> Result<Self, Error> {
        let mut shapes_of = |pictures: usize| {
            let shape = [pictures, 3, input.size.1, input.size.0];
            let zeros = vec![0.0; shape.iter().product()];
            let mut shapes = vec![];
            let mut read = |outputs: &[Tensor<'_>]| shapes = outputs.iter().map(|o| o.shape.to_vec()).collect();
            session.run(shape, &zeros, &mut read).map(|()| shapes)
        };
        let batch = input.batch.unwrap_or(1);
        let shapes = shapes_of(batch).map_err(|e| broken(&plan.model, &e))?;
        let Chosen { layout, classes, others } = choose_layout(plan, signature, &shapes, input.size)?;
        if !starts_with(&shapes, batch) {
            let message =
                format!("{}: outputs {shapes:?} do not start with the batch of {batch}", plan.model.display());
            return Err(
                Error::new(Code::ModelLayout, message).hint("export the model with the batch as the first axis")
            );
        }
        // Some exports declare an open batch axis but have a fixed 1 inside: only a run with two pictures shows it.
        let mut takes_two = || shapes_of(2).is_ok_and(|shapes| starts_with(&shapes, 2));
        let fixed_batch = input.batch.or_else(|| (!takes_two()).then_some(1));
        if input.batch != fixed_batch {
            tracing::info!(model = plan.name, "the batch axis is open in name only: pictures run one by one");
        }
        remark_on_precision(plan, &input.element);
        let Names { labels, named, doubt } =
            labels::load(plan.labels.as_deref(), signature.metadata.names.as_deref(), classes)?;
        let (plan, input) = (plan.clone(), input.size);
        let facts = Facts { plan, layout, input, fixed_batch, labels, named, doubt, others };
        Ok(Self { facts: Arc::new(facts), opened, spare: Mutex::new(Some(session)) })
    }

    /// Creates a worker with its own session. ONNX Runtime's sessions cannot share weights packed at load time, so each
    /// takes the model's size again; rten's workers share one model.
    ///
    /// # Errors
    /// When the file can no longer be loaded.
    pub fn worker(&self) -> Result<Worker, Error> {
        let spare = self.spare.lock().take();
        let session = match spare {
            Some(session) => session,
            None => {
                let path = self.facts.plan.model.as_path();
                self.opened.session(path).map_err(|e| broken(path, &e))?
            }
        };
        let preprocessor = Preprocessor::new(self.facts.layout.recipe(), self.facts.input);
        Ok(Worker::new(Arc::clone(&self.facts), session, preprocessor))
    }

    /// The model's name.
    pub fn name(&self) -> &str {
        &self.facts.plan.name
    }

    /// Maximum pictures per run; `usize::MAX` if the batch axis is open.
    pub fn max_batch(&self) -> usize {
        self.facts.fixed_batch.unwrap_or(usize::MAX)
    }

    /// Class names, in the model's class order.
    pub fn labels(&self) -> &[Arc<str>] {
        &self.facts.labels
    }

    /// Whether its classes have real names.
    pub fn named(&self) -> bool {
        self.facts.named
    }

    /// Why its labels look wrong, with the remedy.
    pub fn doubt(&self) -> Option<&str> {
        self.facts.doubt.as_deref()
    }

    /// Other layouts that its outputs fit.
    pub fn other_layouts(&self) -> &[Layout] {
        &self.facts.others
    }

    /// The layout of its output.
    pub fn layout(&self) -> Layout {
        self.facts.layout
    }

    /// Width and height of its input.
    pub fn input_size(&self) -> (usize, usize) {
        self.facts.input
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model").field("facts", &self.facts).finish_non_exhaustive()
    }
}

impl Opened {
    fn session(&self, path: &Path) -> Result<Box<dyn Session>, String> {
        match self {
            Self::Onnx { environment, element, outputs } => {
                let session = onnx::open(environment, path)?;
                Ok(Box::new(onnx::Onnx::new(session, element.clone(), outputs.clone())))
            }
            Self::Rten { model, outputs } => match rten::Rten::new(Arc::clone(model), outputs) {
                Some(session) => Ok(Box::new(session)),
                None => Err("an input or output is missing".into()),
            },
        }
    }
}

fn starts_with(shapes: &[Vec<usize>], batch: usize) -> bool {
    shapes.iter().all(|shape| shape.first() == Some(&batch))
}

/// Warns if the configuration asks for another precision than the exported one, which is always used.
fn remark_on_precision(plan: &ModelPlan, element: &Element) {
    let Some(wanted) = plan.precision else { return };
    let exported = if *element == Element::F16 { Precision::Fp16 } else { Precision::Fp32 };
    if wanted != exported {
        let (wanted, exported) = (wanted.as_str(), exported.as_str());
        tracing::warn!(model = plan.name, wanted, exported, "a model runs in the precision it was exported in");
    }
}

fn broken(path: &Path, why: &str) -> Error {
    let error = Error::new(Code::Model, format!("model {} cannot be run: {why}", path.display()));
    error.hint("is it an ONNX file, and complete? `onnx.checker` tells more")
}

/// Indices of the outputs to read.
fn chosen_outputs(plan: &ModelPlan, signature: &Signature) -> Result<Vec<usize>, Error> {
    if plan.output_layers.is_empty() {
        return Ok((0..signature.outputs.len()).collect());
    }
    let position = |name: &String| {
        signature.outputs.iter().position(|p| p.name == *name).ok_or_else(|| {
            let message = format!("model {} has no output `{name}`; {}", plan.model.display(), signature.describe());
            Error::new(Code::ModelLayout, message).hint("name existing outputs in `output_layers`, or leave it out")
        })
    };
    plan.output_layers.iter().map(position).collect()
}

/// The chosen output layout.
struct Chosen {
    layout: Layout,
    classes: usize,
    /// Other layouts that the outputs fit.
    others: Vec<Layout>,
}

/// Chooses the layout that fits these shapes, and its number of classes. If several fit, the number of names decides,
/// then the order of [`Layout::ALL`].
fn choose_layout(
    plan: &ModelPlan,
    signature: &Signature,
    shapes: &[Vec<usize>],
    input: (usize, usize),
) -> Result<Chosen, Error> {
    let known = Layout::ALL.map(|l| format!("{}: {}", l.as_str(), l.expects())).join("; ");
    let refuse = |why: String| {
        let message = format!(
            "model {}: {why}; {}; shapes in a run at {}x{}: {shapes:?}",
            plan.model.display(),
            signature.describe(),
            input.0,
            input.1
        );
        let meant = decode::resembles(shapes, input).map(|what| format!("{what}; ")).unwrap_or_default();
        let hint = format!("{meant}layouts that are read: {known}; `dsengine explain E0302` has more");
        Err(Error::new(Code::ModelLayout, message).hint(hint))
    };
    let task = signature.metadata.task.as_deref().map(str::trim);
    if let Some(task) = task.filter(|task| !task.eq_ignore_ascii_case("detect")) {
        return refuse(format!("its metadata says it does `{task}`, only `detect` is read"));
    }
    let fits = |layout: Layout, named: bool| Some((layout, layout.fits(shapes, input, named)?));
    let fitting: Vec<_> = Layout::ALL.into_iter().filter_map(|layout| fits(layout, false)).collect();
    let others =
        |chosen: Layout| fitting.iter().map(|(layout, _)| *layout).filter(|layout| *layout != chosen).collect();
    if let Some(layout) = plan.layout {
        return match fits(layout, true) {
            Some((layout, classes)) => Ok(Chosen { layout, classes, others: others(layout) }),
            None => refuse(format!("`layout: {}` does not fit its outputs", layout.as_str())),
        };
    }
    let names = signature.metadata.names.as_deref();
    let has_names = |(_, classes): &&(Layout, usize)| {
        labels::load(plan.labels.as_deref(), names, *classes).is_ok_and(|names| names.named)
    };
    // Names for the classes of the swapped reading, and for none of those that fit.
    let is_swapped = decode::swapped(shapes, input)
        .is_some_and(|classes| has_names(&&(Layout::YoloV8, classes)) && !fitting.iter().any(|fit| has_names(&fit)));
    if is_swapped {
        return refuse("its names are those of an output with its axes swapped".into());
    }
    // Only Ultralytics' exports of detectors have this metadata.
    let by_metadata = || task.and_then(|_| fits(Layout::YoloV8, true));
    match fitting.iter().find(|fit| has_names(fit)).or(fitting.first()).copied().or_else(by_metadata) {
        Some((layout, classes)) => Ok(Chosen { layout, classes, others: others(layout) }),
        None => refuse("its outputs fit no known layout".into()),
    }
}
