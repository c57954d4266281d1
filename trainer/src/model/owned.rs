//! Models whose type of weights is known only when their bytes are read, and models that own their
//! bytes.

use feamoe_engine::format::Weights;
use feamoe_engine::{Blob, LoadError};
use self_cell::self_cell;

use super::{AlignedBytes, AnyModel, HostIntegerModel, HostModel};

/// A loaded model, with the type of weights that its blob has.
#[derive(Debug)]
pub enum Loaded<'a> {
    /// A model with float weights.
    Float(Box<HostModel<'a>>),
    /// A model with integer weights.
    Integer(Box<HostIntegerModel<'a>>),
}

impl<'a> Loaded<'a> {
    /// Loads a blob, which must be aligned like [`AlignedBytes`].
    ///
    /// # Errors
    /// Those of the engine's reader.
    pub fn new(blob: &'a [u8]) -> Result<Self, LoadError> {
        Ok(match Blob::new(blob)?.weights() {
            Weights::F32(_) => Self::Float(Box::new(HostModel::load(blob)?)),
            Weights::I16(_) | Weights::I8(_) => Self::Integer(Box::new(HostIntegerModel::load(blob)?)),
        })
    }

    /// Returns the model.
    #[must_use]
    pub fn any(&self) -> AnyModel<'_> {
        self.any_with(None)
    }

    /// Like [`Loaded::any`], with the float model that the integer weights represent.
    #[must_use]
    pub fn any_with<'m>(&'m self, floats: Option<&'m HostModel<'m>>) -> AnyModel<'m>
    where
        'a: 'm,
    {
        match self {
            Self::Float(model) => AnyModel::Float(model),
            Self::Integer(model) => AnyModel::Integer { model, floats },
        }
    }
}

self_cell!(
    /// A model together with the bytes that hold its weights. Share it with an
    /// [`Arc`](std::sync::Arc) for as long as it is used for scoring.
    pub struct OwnedModel {
        owner: AlignedBytes,
        #[covariant]
        dependent: Loaded,
    }

    impl {Debug}
);

impl OwnedModel {
    /// Loads and checks a blob.
    ///
    /// # Errors
    /// Those of the engine's reader.
    pub fn load(blob: AlignedBytes) -> Result<Self, LoadError> {
        Self::try_new(blob, |blob| Loaded::new(blob.as_slice()))
    }

    /// Returns the bytes.
    #[must_use]
    pub fn bytes(&self) -> &AlignedBytes {
        self.borrow_owner()
    }

    /// Returns the model.
    #[must_use]
    pub fn any(&self) -> AnyModel<'_> {
        self.borrow_dependent().any()
    }
}
