module outward

go 1.24
