/** A caller of the Customer API, with one token. */
export class Commerce {
  /** Throws TypeError where an option is missing, unknown or wrong. */
  constructor(options: CommerceOptions);
  /** Customers, with their addresses, tags, orders and history. */
  readonly customers: Customers;
  /** The feed: the log of all customers' events. */
  readonly events: Events;
  /**
   * The highest place in the log at which something was written by this client; 0 = nothing yet.
   * As `minPosition` of a list it means: show what I wrote.
   */
  readonly position: number;
}

export interface CommerceOptions {
  /** The token. It is in no error, and not in what is printed of the client. */
  apiKey: string;
  /** Where the service is; `http://127.0.0.1:8080` if absent. */
  baseUrl?: string | URL;
  /** For each attempt, its body included; 30,000 if absent. */
  timeoutMilliseconds?: number;
  /** How often a request is sent at most; 4 if absent, 1 never repeats, 20 at most. */
  attemptsMax?: number;
  /** Sends requests; the global one if absent. */
  fetch?: typeof globalThis.fetch;
}

export interface ReadOptions {
  /** Ends the call at once, a wait between attempts included; its reason is thrown. */
  signal?: AbortSignal;
  /** For each attempt of this call, its body included. */
  timeoutMilliseconds?: number;
}

export interface CreateOptions extends ReadOptions {
  /**
   * Names this write for seven days: the same key again answers the same, and writes nothing. A
   * random one if absent. 1 to 255 printable ASCII characters, no space or quote first, no space
   * last.
   */
  idempotencyKey?: string;
}

export interface WriteOptions extends CreateOptions {
  /** Write only at this version of the customer; else `precondition_failed`. */
  ifMatch?: number;
}

/**
 * All methods reject with CommerceError; with TypeError where what was given cannot be sent; and
 * with the signal's reason.
 */
export interface Customers {
  /** One page of customers. */
  list(parameters?: ListParameters, options?: ReadOptions): Promise<CustomerList>;
  /** Every customer of a list, page after page. */
  listAll(parameters?: ListParameters, options?: ReadOptions): AsyncGenerator<CustomerItem, void>;
  /** The customer, always current; with `version` or `at` as it was. */
  get(customerId: string, parameters?: GetParameters, options?: ReadOptions): Promise<Customer>;
  /** A new customer. */
  create(customer: NewCustomer, options?: CreateOptions): Promise<Customer>;
  /** The changed customer. Absent = unchanged, null clears, tags replace, metadata merges. */
  update(customerId: string, changes: CustomerChanges, options?: WriteOptions): Promise<Customer>;
  /** Deletes for good; orders stay, without a name. `active: false` deactivates instead. */
  delete(customerId: string, options?: WriteOptions): Promise<void>;
  /** The same as `delete`. */
  remove(customerId: string, options?: WriteOptions): Promise<void>;
  /** The new address. */
  addAddress(customerId: string, address: NewAddress, options?: WriteOptions): Promise<Address>;
  /** The changed address. Absent = unchanged, null clears. */
  updateAddress(
    customerId: string,
    addressId: string,
    changes: AddressChanges,
    options?: WriteOptions,
  ): Promise<Address>;
  /** Removes an address; if it was the default, the oldest one left becomes that. */
  removeAddress(customerId: string, addressId: string, options?: WriteOptions): Promise<void>;
  /** The customer with these tags as well. */
  addTags(customerId: string, tags: readonly string[], options?: WriteOptions): Promise<Customer>;
  /** The customer without this tag, in any case. `.` and `..` fit in no URL: use `update`. */
  removeTag(customerId: string, tag: string, options?: WriteOptions): Promise<Customer>;
  /** One page of orders, the latest first. */
  orders(
    customerId: string,
    parameters?: OrdersParameters,
    options?: ReadOptions,
  ): Promise<OrderList>;
  /** Every order, page after page. */
  ordersAll(
    customerId: string,
    parameters?: OrdersParameters,
    options?: ReadOptions,
  ): AsyncGenerator<Order, void>;
  /** One page of history, the oldest event first. */
  events(
    customerId: string,
    parameters?: EventsParameters,
    options?: ReadOptions,
  ): Promise<EventList>;
  /** Every event of the history, page after page. */
  eventsAll(
    customerId: string,
    parameters?: EventsParameters,
    options?: ReadOptions,
  ): AsyncGenerator<CustomerEvent, void>;
  /** All that is held about the customer. Needs the scope `customers:erase`. */
  export(customerId: string, options?: ReadOptions): Promise<CustomerExport>;
}

/** A date, a time (RFC 3339) or a Date. A date alone is its beginning in UTC. */
export type Time = string | Date;

export interface ListParameters {
  /** From 1; excludes `cursor`. */
  page?: number;
  /** Customers on a page, 1 to 100; 20 if absent (`listAll`: 100). */
  display?: number;
  /**
   * `field:asc` or `field:desc`, several by comma: createdAt, updatedAt, email, firstName,
   * lastName, orderCount, totalSpent, lastOrderAt. `createdAt:desc` if absent.
   */
  sort?: string;
  /** Words, all of which occur in first name, last name or e-mail. */
  q?: string;
  /** Several: all of them. */
  tag?: string | readonly string[];
  /** Created after this. */
  since?: Time;
  /** Created before this. */
  until?: Time;
  /** Changed after this. */
  updatedSince?: Time;
  active?: boolean;
  /** Exactly this address. */
  email?: string;
  /** Minor units, included. */
  minSpent?: number;
  /** Minor units, included. */
  maxSpent?: number;
  /** Included. */
  minOrders?: number;
  /** Included. */
  maxOrders?: number;
  /** `nextCursor` of the answer before, with the same filter and sort. */
  cursor?: string;
  /** Wait until the list shows this position; the client's own `position`, for example. */
  minPosition?: number;
}

export interface GetParameters {
  /** As it was then; excludes `version`. */
  at?: Time;
  /** As it was at this version. */
  version?: number;
}

export interface OrdersParameters {
  /** Orders on a page, 1 to 100; 20 if absent (`ordersAll`: 100). */
  display?: number;
  cursor?: string;
  minPosition?: number;
}

export interface EventsParameters {
  /** Only what came after this version; excludes `cursor`. */
  after?: number;
  /** Events on a page, 1 to 100; 20 if absent (`eventsAll`: 100). */
  display?: number;
  cursor?: string;
}

export type MetadataValue = string | number | boolean;

/** What people type; null = absent. */
export interface NewCustomer {
  /** Kept in lower case; unique among living customers. */
  email: string;
  firstName?: string | null;
  lastName?: string | null;
  phone?: string | null;
  tags?: readonly string[] | null;
  metadata?: Record<string, MetadataValue | null> | null;
  addresses?: readonly NewAddress[] | null;
  active?: boolean;
}

/** What was read may be edited and given as it is: what the service decides is ignored. */
export interface CustomerChanges extends Partial<Omit<NewCustomer, "addresses">> {
  /** Must be what they are: use the methods for addresses. */
  addresses?: readonly Address[];
  id?: string;
  orderCount?: number;
  totalSpent?: number;
  spentByCurrency?: Record<string, number>;
  lastOrderAt?: string | null;
  createdAt?: string;
  updatedAt?: string;
  version?: number;
  stale?: true;
}

export interface NewAddress {
  line1: string;
  city: string;
  /** ISO 3166-1 alpha-2. */
  country: string;
  label?: string | null;
  state?: string | null;
  postalCode?: string | null;
  /** True takes the mark from the one before. A first address is the default in any case. */
  isDefault?: boolean;
}

export type AddressChanges = Partial<Address>;

export interface Address {
  id: string;
  label: string | null;
  line1: string;
  city: string;
  state: string | null;
  postalCode: string | null;
  country: string;
  isDefault: boolean;
}

/** Times are RFC 3339 in UTC, with milliseconds. Amounts are in minor units. */
export interface CustomerItem {
  id: string;
  email: string;
  firstName: string | null;
  lastName: string | null;
  /** Orders that count: placed, paid or completed, and no test. */
  orderCount: number;
  /** In the tenant's currency. */
  totalSpent: number;
  lastOrderAt: string | null;
  tags: string[];
  active: boolean;
  createdAt: string;
  updatedAt: string;
  /** There, and true, where the list missed an event; `get` shows the customer itself. */
  stale?: true;
}

export interface Customer extends Omit<CustomerItem, "stale"> {
  phone: string | null;
  metadata: Record<string, MetadataValue>;
  addresses: Address[];
  /** By ISO 4217 code, each in its own minor units. */
  spentByCurrency: Record<string, number>;
  /** Counts the events about the customer, its orders included; for `ifMatch`. */
  version: number;
}

export interface CustomerList {
  /** How many customers match in all. */
  count: number;
  page: number;
  display: number;
  /** Null on the last page. */
  nextCursor: string | null;
  models: CustomerItem[];
}

export interface Order {
  orderId: string;
  orderVersion: number;
  status: "pending" | "placed" | "paid" | "completed" | "cancelled" | "failed";
  /** ISO 4217; the amounts are in its minor units. */
  currency: string;
  total: number;
  captured: number | null;
  refunded: number | null;
  placedAt: string;
  test: boolean;
  /** Whether it is one of `orderCount`. */
  countable: boolean;
  /** What it adds to the spend in its currency. */
  contribution: number;
  /** How the contribution comes about, in words. */
  reason: string;
}

export interface OrderList {
  count: number;
  nextCursor: string | null;
  models: Order[];
}

export interface Actor {
  /** `token`, `jwt` or `system`. */
  type: string;
  id: string;
  name: string | null;
}

export interface CustomerEvent {
  id: string;
  /** In the log of all customers. */
  position: number;
  /** The customer's version that it made. */
  version: number;
  /** The name of the schema of `data`, such as `customer.created.v1`. */
  type: string;
  time: string;
  actor: Actor;
  requestId: string;
  data: Record<string, unknown>;
  /** By field of the customer: what it was, and what it became. */
  changes: Record<string, { from: unknown; to: unknown }>;
}

export interface EventList {
  /** All events of the customer, whatever the page. */
  count: number;
  events: CustomerEvent[];
  nextCursor: string | null;
  /** There where older events are archived: those up to this version are left out. */
  archivedTo?: number;
}

export interface CustomerExport {
  exportedAt: string;
  asOfPosition: number;
  customer: Customer;
  events: CustomerEvent[];
  orders: Order[];
}

/** The log of all customers' events. Needs a token with the scope `events:read`. */
export interface Events {
  /** The events after a position, up to the end of the log. */
  read(parameters?: FeedParameters, options?: ReadOptions): Feed;
}

export interface FeedParameters {
  /** A position; 0, the beginning, if absent. */
  after?: number;
  /** Only these, such as `customer.created`, or `customer.created.v1` for one version of it. */
  types?: string | readonly string[];
  /** Events at most; no limit if absent. */
  limit?: number;
  /** The log that `after` belongs to; `epoch_changed` is thrown where it is another by now. */
  epoch?: string;
}

/** Events as they are read. Iterating again goes on where it ended, with what came since. */
export interface Feed extends AsyncIterable<FeedEvent> {
  /** Where to go on, as `after`: the event in hand is counted, nothing before it is left out. */
  readonly position: number;
  /** The log that `position` belongs to; undefined before the first answer. */
  readonly epoch: string | undefined;
}

export interface FeedEvent {
  position: number;
  epoch: string;
  id: string;
  type: string;
  customerId: string;
  version: number;
  time: string;
  actor: Actor;
  data: Record<string, unknown>;
  /** There, and true, where the customer was deleted and its personal fields are blank. */
  forgotten?: true;
  /** There, and true, where the event cannot be read and `data` is empty: stop that customer. */
  damaged?: true;
}

/** A request that failed. Switch on `code`. Messages hold nothing personal, and no token. */
export class CommerceError extends Error {
  private constructor();
  /** The HTTP status; null where there was no answer. */
  readonly status: number | null;
  /**
   * The service's own, such as `email_taken`, or `network_error` (no answer; a write may have
   * happened), `timeout` (likewise), `http_error` (an error that is not the service's, from a proxy
   * for example), `invalid_answer` (a success that is not what was asked for).
   */
  readonly code: string;
  /** What is the matter this time, in a sentence. */
  readonly detail: string | null;
  /** Names the request in the service's log. */
  readonly requestId: string | null;
  /** Every fault of the request: where it is, a code, a sentence. */
  readonly errors: readonly { pointer: string; code: string; detail: string }[];
  /** What may be given instead, where the service says so. */
  readonly allowed: readonly string[];
  /** Seconds after which to try again. */
  readonly retryAfter: number | null;
  /** The customer's version, with `precondition_failed`. */
  readonly currentVersion: number | null;
}
