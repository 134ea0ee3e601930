//! The tensors of `model.safetensors` (<https://huggingface.co/docs/safetensors>).

use ndarray::{Array1, Array2};
use safetensors::{Dtype, SafeTensors};

/// The tensors of a BERT. Some files put `bert.` before all names.
pub(super) struct Tensors<'a> {
    tensors: SafeTensors<'a>,
    prefix: &'static str,
}

impl<'a> Tensors<'a> {
    /// # Errors
    /// Why these are no tensors.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        let tensors = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
        let has_prefix = tensors.names().iter().any(|name| name.starts_with("bert."));
        Ok(Self { tensors, prefix: if has_prefix { "bert." } else { "" } })
    }

    /// # Errors
    /// If it is not there, or is another one.
    pub(super) fn matrix(&self, name: &str, rows: usize, columns: usize) -> Result<Array2<f32>, String> {
        let numbers = self.numbers(name, &[rows, columns])?;
        Array2::from_shape_vec((rows, columns), numbers).map_err(|error| format!("{name}: {error}"))
    }

    /// # Errors
    /// If it is not there, or is another one.
    pub(super) fn vector(&self, name: &str, length: usize) -> Result<Array1<f32>, String> {
        self.numbers(name, &[length]).map(Array1::from)
    }

    fn numbers(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, String> {
        let name = format!("{}{name}", self.prefix);
        let tensor = self.tensors.tensor(&name).map_err(|_| format!("there is no tensor {name}"))?;
        if tensor.shape() != shape {
            return Err(format!("{name} has the shape {:?}; by config.json it is {shape:?}", tensor.shape()));
        }
        if tensor.dtype() != Dtype::F32 {
            return Err(format!("{name} has numbers of the type {:?}; only F32 is known", tensor.dtype()));
        }
        // By the format, numbers are little-endian.
        let numbers: Vec<f32> =
            tensor.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        if numbers.iter().all(|number| number.is_finite()) {
            Ok(numbers)
        } else {
            Err(format!("{name} has infinite numbers"))
        }
    }
}
