module customers/sdk

go 1.19
