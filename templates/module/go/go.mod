module edge-module

go 1.19
