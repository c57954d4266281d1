/** An error with a message in plain text, for example for an invalid model file or record. */
export class FeamoeError extends Error {}

/** A number of a model. */
export interface NumberFeature {
    readonly name: string;
    readonly kind: "number";
    /** Lowest and highest number of the training rows; other numbers are clamped to this range. */
    readonly low: number;
    readonly high: number;
}

/** A category of a model. */
export interface CategoryFeature {
    readonly name: string;
    readonly kind: "category";
    /** Levels in the order of their codes; any other level is unseen. */
    readonly levels: readonly string[];
}

export type Feature = NumberFeature | CategoryFeature;

/**
 * Values keyed by feature names. `null`, `undefined`, NaN and, if no level has this name, `""` are
 * missing values; an absent key is an error. A category takes its level as text; a number or a
 * boolean stands for its shortest text. Other properties are ignored.
 *
 * Text is used unchanged: the caller must remove blanks around a level, and words for "not known"
 * such as "?", which the schema's `table.missing` lists.
 */
export type FeatureRecord = object;

export interface Score {
    /** The score, in [0, 1]: an f32. For integer weights, the 24 highest bits. */
    probability: number;
    /** Whether it reaches the threshold. */
    decision: boolean;
    /** Whether some value was missing. */
    missing: boolean;
    /** Whether some number was clamped to the training range. */
    clamped: boolean;
    /** Whether some level was not seen in training. */
    unseen: boolean;
}

/** The explanation of a score: `baseValue` + the sum of `values` + `residual` = `output`. */
export interface Explanation {
    method: "path" | "exact" | "frozen";
    space: "probability" | "log-odds";
    score: Score;
    /** The output of the mean record, or the mean output of the background records. */
    baseValue: number;
    output: number;
    residual: number;
    /**
     * Share of the attribution along the mean record's path that runs through the gate; NaN for
     * frozen.
     */
    gateShare: number;
    /** One value per feature, in order. */
    values: number[];
}

/** The allowed changes of a feature. For a category, only `cost` and "fixed" are used. */
export interface Rule {
    /** Default: "any". */
    direction?: "any" | "increase" | "decrease" | "fixed";
    /** Lowest and highest number proposed. Default: those of the training range. */
    low?: number;
    high?: number;
    /** Proposed numbers are multiples of it. Default: 0, for any number. */
    step?: number;
    /** Factor of its part of the distance, 0.001 to 1000. Default: 1. */
    cost?: number;
}

export interface ExactOptions {
    /** Background records, at most 1000. Default: those of the model. */
    background?: readonly FeatureRecord[];
    /** Number of background records to use, from the first on. Default: all, at most 1000. */
    rows?: number;
    /** The space of the values. Default: "probability". */
    space?: "probability" | "log-odds";
}

export interface RecourseOptions {
    /** Rules keyed by feature names. Default: every feature is free. */
    rules?: { readonly [feature: string]: Rule };
    /** Largest number of features to change. Default: 3. */
    maxChanges?: number;
    /** Margin by which the new score exceeds the threshold, from 0 and below 1. Default: 0.05. */
    margin?: number;
}

export interface Recourse {
    /** The distance in standard deviations of the training rows, including costs. */
    distance: number;
    /** The score after the changes. */
    probability: number;
    /** New values keyed by feature names; empty if the decision is favourable already. */
    changes: { [feature: string]: number | string };
}

/**
 * A loaded model. Its memory is freed when nothing refers to it any more, or at once by `free`.
 * Every function throws a `FeamoeError` on invalid input.
 */
export class Model {
    private constructor();
    readonly features: readonly Feature[];
    /** The favourable outcome; "" if the file has no names. */
    readonly outcome: string;
    /** The decision threshold: a decision is favourable if the score is at least this. */
    readonly threshold: number;
    readonly experts: number;
    /** CRC-32 of the file in hexadecimal, which identifies the model. */
    readonly checksum: string;
    /** Whether the weights are integers: such a model has only scores and frozen explanations. */
    readonly integer: boolean;
    /** Number of background records of the model. */
    readonly backgroundRows: number;

    /** Scores a record. `gate` has the gate weights of the experts, which sum to 1. */
    score(record: FeatureRecord): Score & { gate: number[] };
    /**
     * Returns the calibrated probability of the favourable outcome; the score if the model is not
     * calibrated.
     */
    calibrated(record: FeatureRecord): number;
    /** Explains with the gate held fixed (FEAMOE, Theorem 1), in log-odds; not Shapley values. */
    frozen(record: FeatureRecord): Explanation;
    /** Explains along the path from the mean record, gate included, in probability. */
    path(record: FeatureRecord): Explanation;
    /**
     * Explains by exact Shapley values against background records. Takes up to 2^d evaluations for
     * each, where d is the number of features that differ from it, at most 32.
     */
    exact(record: FeatureRecord, options?: ExactOptions): Explanation;
    /**
     * Finds the nearest favourable record that the rules allow; null if there is none. If more than
     * `maxChanges` features would change, there is one search for each of them, which takes seconds
     * with 40 features.
     */
    recourse(record: FeatureRecord, options?: RecourseOptions): Recourse | null;
    /** Frees the memory. The model must not be used afterwards. */
    free(): void;
}

/**
 * Loads a model file, float or integer.
 *
 * @param blob The bytes of the file.
 * @param wasm The module, compiled or as bytes; by default `feamoe.wasm` beside this file.
 */
export function load(
    blob: ArrayBuffer | Uint8Array,
    wasm?: WebAssembly.Module | ArrayBuffer | Uint8Array,
): Promise<Model>;
