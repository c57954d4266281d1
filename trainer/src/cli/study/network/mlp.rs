//! A multilayer perceptron: rectified linear layers, a linear output layer, gradients by
//! backpropagation, and Adam steps (Kingma and Ba 2015).

use ndarray::{Array1, Array2, ArrayView2, Axis, NdFloat, Zip};

use crate::cli::study::generators::Random;

/// Parameters of Adam, with the values of its paper: the decay of the mean gradient, the decay of
/// the mean squared gradient, and the constant that keeps a step finite.
const MEAN_DECAY: f64 = 0.9;
const SQUARE_DECAY: f64 = 0.999;
const SMALLEST: f64 = 1e-8;

/// A multilayer perceptron. Without hidden layers it is a linear function.
#[derive(Clone, Debug)]
pub struct Mlp<F> {
    /// The last layer is the output.
    layers: Vec<Layer<F>>,
    /// Number of steps so far.
    steps: i32,
}

#[derive(Clone, Debug)]
struct Layer<F> {
    /// Of shape (inputs, outputs).
    weights: Parameters<Array2<F>>,
    bias: Parameters<Array1<F>>,
}

/// Parameters with the running means of their gradients and of the squared gradients.
#[derive(Clone, Debug)]
struct Parameters<A> {
    values: A,
    mean: A,
    square: A,
}

/// The inputs of every layer and the outputs for a batch of records, with one row per record.
#[derive(Clone, Debug)]
pub struct Pass<F> {
    inputs: Vec<Array2<F>>,
    /// The outputs, with one row per record.
    pub outputs: Array2<F>,
}

/// The gradient of a loss with respect to the parameters: weights and bias of each layer.
pub type Gradient<F> = Vec<(Array2<F>, Array1<F>)>;

impl<F: NdFloat> Mlp<F> {
    /// Draws a network by the method of He et al. (2015) for rectified units: the variance of a
    /// weight is 2 divided by the number of inputs. The outputs start at 0.
    pub fn new(inputs: usize, hidden: &[usize], outputs: usize, random: &mut Random) -> Self {
        let mut widths = vec![inputs];
        widths.extend_from_slice(hidden);
        let mut layers: Vec<Layer<F>> = widths
            .windows(2)
            .map(|pair| {
                let [inputs, outputs] = [pair[0], pair[1]];
                let spread = libm::sqrt(2.0 / inputs.max(1) as f64);
                let weights = Array2::from_shape_simple_fn((inputs, outputs), || number(spread * random.normal()));
                Layer::new(weights)
            })
            .collect();
        layers.push(Layer::new(Array2::zeros((widths[widths.len() - 1], outputs))));
        Self { layers, steps: 0 }
    }

    /// Returns the outputs for a batch of records, one per row, and the inputs of every layer.
    pub fn forward(&self, records: Array2<F>) -> Pass<F> {
        let mut inputs = Vec::with_capacity(self.layers.len());
        let mut values = records;
        for (index, layer) in self.layers.iter().enumerate() {
            let mut next = values.dot(&layer.weights.values) + &layer.bias.values;
            if index + 1 < self.layers.len() {
                next.mapv_inplace(|x| x.max(F::zero()));
            }
            inputs.push(std::mem::replace(&mut values, next));
        }
        Pass { inputs, outputs: values }
    }

    /// Returns the gradient of a loss with respect to the parameters. `in_outputs` is its gradient
    /// with respect to the outputs.
    pub fn gradient(&self, pass: &Pass<F>, in_outputs: ArrayView2<'_, F>) -> Gradient<F> {
        let mut gradient = Vec::with_capacity(self.layers.len());
        let mut behind = in_outputs.to_owned();
        for (layer, inputs) in self.layers.iter().zip(&pass.inputs).rev() {
            gradient.push((inputs.t().dot(&behind), behind.sum_axis(Axis(0))));
            behind = behind.dot(&layer.weights.values.t());
            // The inputs of a layer are outputs of rectified units. A unit that is off is at 0 and
            // has no gradient.
            Zip::from(&mut behind).and(inputs).for_each(|behind, input| {
                if *input <= F::zero() {
                    *behind = F::zero();
                }
            });
        }
        gradient.reverse();
        gradient
    }

    /// Takes an Adam step against a gradient.
    pub fn step(&mut self, gradient: &Gradient<F>, learning_rate: f64) {
        self.steps += 1;
        let corrected = |decay: f64| 1.0 - libm::pow(decay, f64::from(self.steps));
        let rate = learning_rate * libm::sqrt(corrected(SQUARE_DECAY)) / corrected(MEAN_DECAY);
        for (layer, (weights, bias)) in self.layers.iter_mut().zip(gradient) {
            layer.weights.step(weights, number(rate));
            layer.bias.step(bias, number(rate));
        }
    }

    /// Adds an output: a slightly perturbed copy of the last one. The bias of both is 1 lower, so
    /// that as base-2 logits of a softmax they share the probability of the last output.
    pub fn widen(&mut self, spread: f64, random: &mut Random) {
        let Some(Layer { weights, bias }) = self.layers.last_mut() else { return };
        let Some(last) = weights.values.ncols().checked_sub(1) else { return };
        bias.values[last] -= F::one();
        for array in [&mut weights.values, &mut weights.mean, &mut weights.square] {
            let copy = array.column(last).to_owned();
            _ = array.push_column(copy.view()); // the lengths agree
        }
        for array in [&mut bias.values, &mut bias.mean, &mut bias.square] {
            let copy = array[last];
            _ = array.push(Axis(0), ndarray::arr0(copy).view());
        }
        weights.values.column_mut(last + 1).mapv_inplace(|x| x + number(spread * random.normal()));
    }

    /// Adds a normal number with this standard deviation to every weight, so that a copy learns
    /// something else.
    pub fn perturb(&mut self, spread: f64, random: &mut Random) {
        for layer in &mut self.layers {
            layer.weights.values.mapv_inplace(|x| x + number(spread * random.normal()));
        }
    }
}

impl<F: NdFloat> Layer<F> {
    fn new(weights: Array2<F>) -> Self {
        let bias = Array1::zeros(weights.ncols());
        Self { weights: Parameters::new(weights), bias: Parameters::new(bias) }
    }
}

impl<F: NdFloat, D: ndarray::Dimension> Parameters<ndarray::Array<F, D>> {
    fn new(values: ndarray::Array<F, D>) -> Self {
        let zeros = ndarray::Array::zeros(values.raw_dim());
        Self { values, mean: zeros.clone(), square: zeros }
    }

    fn step(&mut self, gradient: &ndarray::Array<F, D>, rate: F) {
        let [mean_decay, square_decay, smallest] = [MEAN_DECAY, SQUARE_DECAY, SMALLEST].map(number::<F>);
        Zip::from(&mut self.values).and(&mut self.mean).and(&mut self.square).and(gradient).for_each(
            |value, mean, square, g| {
                *mean = *mean * mean_decay + *g * (F::one() - mean_decay);
                *square = *square * square_decay + *g * *g * (F::one() - square_decay);
                *value -= rate * *mean / (square.sqrt() + smallest);
            },
        );
    }
}

/// Converts a number to `F`.
fn number<F: NdFloat>(x: f64) -> F {
    F::from(x).unwrap_or_else(F::nan)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Central differences in f64 with this step are accurate to about 1e-9.
    const STEP: f64 = 1e-5;
    const TOLERANCE: f64 = 1e-7;

    /// Compares every parameter of random networks with finite differences.
    #[test]
    fn gradients_agree_with_finite_differences() {
        for (seed, hidden) in [(1, &[][..]), (2, &[4]), (3, &[5, 3]), (4, &[3, 3, 3, 3, 3])] {
            let random = &mut Random::new(seed);
            let mut network = Mlp::<f64>::new(4, hidden, 2, random);
            network.perturb(0.5, random);
            // With a bias of 0, a unit whose inputs are all off would be at the kink of its
            // function.
            for layer in &mut network.layers {
                layer.bias.values.mapv_inplace(|_| 0.3 * random.normal());
            }
            let records = Array2::from_shape_simple_fn((6, 4), || random.normal());
            let towards = Array2::from_shape_simple_fn((6, 2), || random.normal());
            // A loss that is not linear in the outputs.
            let loss =
                |network: &Mlp<f64>| (network.forward(records.clone()).outputs - &towards).mapv(|x| x * x * x).sum();
            let pass = network.forward(records.clone());
            let in_outputs = (&pass.outputs - &towards).mapv(|x| 3.0 * x * x);
            let gradient = network.gradient(&pass, in_outputs.view());
            for (layer, (weights, bias)) in gradient.iter().enumerate() {
                let check = |found: f64, of: &dyn Fn(&mut Layer<f64>) -> &mut f64| {
                    let at = |step: f64| {
                        let mut moved = network.clone();
                        *of(&mut moved.layers[layer]) += step;
                        loss(&moved)
                    };
                    let expected = (at(STEP) - at(-STEP)) / (2.0 * STEP);
                    assert!(
                        (found - expected).abs() < TOLERANCE * expected.abs().max(1.0),
                        "{layer}: {found}, {expected}"
                    );
                };
                for (place, found) in weights.indexed_iter() {
                    check(*found, &|layer| &mut layer.weights.values[place]);
                }
                for (place, found) in bias.indexed_iter() {
                    check(*found, &|layer| &mut layer.bias.values[place]);
                }
            }
        }
    }

    /// Exclusive or cannot be learned by a linear function.
    #[test]
    fn learns_exclusive_or() {
        let random = &mut Random::new(5);
        let records = Array2::from_shape_vec((4, 2), vec![0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0]).unwrap();
        let outcomes = Array2::from_shape_vec((4, 1), vec![-1.0, 1.0, 1.0, -1.0]).unwrap();
        let error = |hidden: &[usize], random: &mut Random| {
            let mut network = Mlp::<f64>::new(2, hidden, 1, random);
            for _ in 0..2_000 {
                let pass = network.forward(records.clone());
                let gradient = network.gradient(&pass, (&pass.outputs - &outcomes).view());
                network.step(&gradient, 0.01);
            }
            (network.forward(records.clone()).outputs - &outcomes).mapv(f64::abs).sum()
        };
        let (with, without) = (error(&[8, 8], random), error(&[], random));
        assert!(with < 0.1 && without > 3.0, "{with} with hidden layers, {without} without");
    }
}
