/**
 * Exact arithmetic on natural-number literal types, digit by digit.
 *
 * Sizes reach the type checker as literals (`384 * 4`, `1370 + 1`). Counting with tuples breaks at a few thousand elements;
 * here no tuple is longer than 19 and the recursion is as deep as a number has digits, so every product below 2^53 is exact
 * and costs a few hundred instantiations.
 *
 *   NMul<384, 4>  ->  1536        NDiv<1152, 384>  ->  3        NDiv<384, 5>  ->  never
 */
type Units = {
  '0': [];
  '1': [0];
  '2': [0, 0];
  '3': [0, 0, 0];
  '4': [0, 0, 0, 0];
  '5': [0, 0, 0, 0, 0];
  '6': [0, 0, 0, 0, 0, 0];
  '7': [0, 0, 0, 0, 0, 0, 0];
  '8': [0, 0, 0, 0, 0, 0, 0, 0];
  '9': [0, 0, 0, 0, 0, 0, 0, 0, 0];
};
type Digit = keyof Units;

/** A sum 0..19 as [low digit, carry]. */
type Carry = [
  ['0', '0'],
  ['1', '0'],
  ['2', '0'],
  ['3', '0'],
  ['4', '0'],
  ['5', '0'],
  ['6', '0'],
  ['7', '0'],
  ['8', '0'],
  ['9', '0'],
  ['0', '1'],
  ['1', '1'],
  ['2', '1'],
  ['3', '1'],
  ['4', '1'],
  ['5', '1'],
  ['6', '1'],
  ['7', '1'],
  ['8', '1'],
  ['9', '1'],
];
type DigitSum<A extends Digit, B extends Digit, C extends Digit> = Carry[[...Units[A], ...Units[B], ...Units[C]]['length'] & keyof Carry];

/** '384' -> '483': digits are consumed from the right, so the operands of + - * are reversed first. */
type Rev<S extends string, R extends string = ''> = S extends `${infer H}${infer T}` ? Rev<T, `${H}${R}`> : R;
type Trim<S extends string> = S extends `0${infer R}` ? (R extends '' ? '0' : Trim<R>) : S;
type ToNum<S extends string> = S extends `${infer N extends number}` ? N : never;

type AddR<
  A extends string,
  B extends string,
  C extends Digit = '0',
  R extends string = '',
> = A extends `${infer a extends Digit}${infer AT}`
  ? B extends `${infer b extends Digit}${infer BT}`
    ? DigitSum<a, b, C> extends [infer l extends Digit, infer c extends Digit]
      ? AddR<AT, BT, c, `${l}${R}`>
      : never
    : DigitSum<a, '0', C> extends [infer l extends Digit, infer c extends Digit]
      ? AddR<AT, '', c, `${l}${R}`>
      : never
  : B extends `${infer b extends Digit}${infer BT}`
    ? DigitSum<'0', b, C> extends [infer l extends Digit, infer c extends Digit]
      ? AddR<'', BT, c, `${l}${R}`>
      : never
    : C extends '1'
      ? `1${R}`
      : R;

export type NAdd<A extends number, B extends number> = ToNum<AddR<Rev<`${A}`>, Rev<`${B}`>>>;

type Times = {
  '0': ['00', '00', '00', '00', '00', '00', '00', '00', '00', '00'];
  '1': ['00', '01', '02', '03', '04', '05', '06', '07', '08', '09'];
  '2': ['00', '02', '04', '06', '08', '10', '12', '14', '16', '18'];
  '3': ['00', '03', '06', '09', '12', '15', '18', '21', '24', '27'];
  '4': ['00', '04', '08', '12', '16', '20', '24', '28', '32', '36'];
  '5': ['00', '05', '10', '15', '20', '25', '30', '35', '40', '45'];
  '6': ['00', '06', '12', '18', '24', '30', '36', '42', '48', '54'];
  '7': ['00', '07', '14', '21', '28', '35', '42', '49', '56', '63'];
  '8': ['00', '08', '16', '24', '32', '40', '48', '56', '64', '72'];
  '9': ['00', '09', '18', '27', '36', '45', '54', '63', '72', '81'];
};
/** (reversed A) * one digit, most significant digit first. */
type MulDigit<
  A extends string,
  d extends Digit,
  C extends Digit = '0',
  R extends string = '',
> = A extends `${infer a extends Digit}${infer AT}`
  ? Times[d][a & keyof Times[d]] extends `${infer hi extends Digit}${infer lo extends Digit}`
    ? DigitSum<lo, C, '0'> extends [infer l extends Digit, infer c extends Digit]
      ? DigitSum<hi, c, '0'> extends [infer h extends Digit, unknown]
        ? MulDigit<AT, d, h, `${l}${R}`>
        : never
      : never
    : never
  : C extends '0'
    ? R
    : `${C}${R}`;
/** Horner over B: acc = acc * 10 + A * digit. */
type MulH<RA extends string, B extends string, Acc extends string = '0'> = B extends `${infer d extends Digit}${infer BT}`
  ? MulH<RA, BT, AddR<Rev<`${Acc}0`>, Rev<MulDigit<RA, d>>>>
  : Trim<Acc>;

export type NMul<A extends number, B extends number> = ToNum<MulH<Rev<`${A}`>, `${B}`>>;

/** Digits below a digit. */
type Below = {
  '0': never;
  '1': '0';
  '2': '0' | '1';
  '3': '0' | '1' | '2';
  '4': '0' | '1' | '2' | '3';
  '5': '0' | '1' | '2' | '3' | '4';
  '6': '0' | '1' | '2' | '3' | '4' | '5';
  '7': '0' | '1' | '2' | '3' | '4' | '5' | '6';
  '8': '0' | '1' | '2' | '3' | '4' | '5' | '6' | '7';
  '9': '0' | '1' | '2' | '3' | '4' | '5' | '6' | '7' | '8';
};
type CmpLength<A extends string, B extends string> = A extends `${string}${infer AT}`
  ? B extends `${string}${infer BT}`
    ? CmpLength<AT, BT>
    : 1
  : B extends ''
    ? 0
    : -1;
type CmpDigits<A extends string, B extends string> = A extends `${infer a extends Digit}${infer AT}`
  ? B extends `${infer b extends Digit}${infer BT}`
    ? a extends b
      ? CmpDigits<AT, BT>
      : b extends Below[a]
        ? 1
        : -1
    : 0
  : 0;
type Cmp<A extends string, B extends string> = CmpLength<A, B> extends infer L ? (L extends 0 ? CmpDigits<A, B> : L) : never;

/** Minus[a][b] = low digit of a - b, then the borrow. */
type Minus = {
  '0': ['00', '91', '81', '71', '61', '51', '41', '31', '21', '11'];
  '1': ['10', '00', '91', '81', '71', '61', '51', '41', '31', '21'];
  '2': ['20', '10', '00', '91', '81', '71', '61', '51', '41', '31'];
  '3': ['30', '20', '10', '00', '91', '81', '71', '61', '51', '41'];
  '4': ['40', '30', '20', '10', '00', '91', '81', '71', '61', '51'];
  '5': ['50', '40', '30', '20', '10', '00', '91', '81', '71', '61'];
  '6': ['60', '50', '40', '30', '20', '10', '00', '91', '81', '71'];
  '7': ['70', '60', '50', '40', '30', '20', '10', '00', '91', '81'];
  '8': ['80', '70', '60', '50', '40', '30', '20', '10', '00', '91'];
  '9': ['90', '80', '70', '60', '50', '40', '30', '20', '10', '00'];
};
type Sub1<a extends Digit, b extends Digit, borrow extends Digit> = Minus[a][b &
  keyof Minus[a]] extends `${infer l extends Digit}${infer o extends Digit}`
  ? borrow extends '0'
    ? [l, o]
    : Minus[l]['1'] extends `${infer l2 extends Digit}${infer o2 extends Digit}`
      ? [l2, o extends '1' ? '1' : o2]
      : never
  : never;
type SubR<
  A extends string,
  B extends string,
  borrow extends Digit = '0',
  R extends string = '',
> = A extends `${infer a extends Digit}${infer AT}`
  ? B extends `${infer b extends Digit}${infer BT}`
    ? Sub1<a, b, borrow> extends [infer l extends Digit, infer o extends Digit]
      ? SubR<AT, BT, o, `${l}${R}`>
      : never
    : Sub1<a, '0', borrow> extends [infer l extends Digit, infer o extends Digit]
      ? SubR<AT, '', o, `${l}${R}`>
      : never
  : R;

/** A - B, `never` where A < B. */
export type NSub<A extends number, B extends number> = Cmp<`${A}`, `${B}`> extends -1 ? never : ToNum<Trim<SubR<Rev<`${A}`>, Rev<`${B}`>>>>;

/** How often B fits in Rem (0..9), and what is left. */
type DivDigit<Rem extends string, B extends string, Q extends 0[] = []> =
  Cmp<Rem, B> extends -1 ? [Q['length'], Rem] : DivDigit<Trim<SubR<Rev<Rem>, Rev<B>>>, B, [...Q, 0]>;
type DivH<A extends string, B extends string, Rem extends string = '0', R extends string = ''> = A extends `${infer d}${infer AT}`
  ? DivDigit<Trim<`${Rem}${d}`>, B> extends [infer q extends number, infer r extends string]
    ? DivH<AT, B, r, `${R}${q}`>
    : never
  : [Trim<R>, Rem];

/** Exact quotient, `never` where B does not divide A. */
export type NDiv<A extends number, B extends number> = B extends 0
  ? never
  : DivH<`${A}`, `${B}`> extends [infer q extends string, infer r]
    ? r extends '0'
      ? ToNum<q>
      : never
    : never;
